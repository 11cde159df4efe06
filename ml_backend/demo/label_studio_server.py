"""A Label Studio on the loopback address, with the settings a backend on the same machine needs."""

from pathlib import Path

from ml_backend.demo.credentials import Credentials
from ml_backend.local_servers.child_process import PAST_PROXIES, ChildProcess, answers

# the first start migrates an empty database: 50 s on two cores
_FIRST_START_SECONDS = 600.0


def url(port: int) -> str:
    """Where the server answers: by name, as people type it, so that cookies match."""
    return f"http://localhost:{port}"


def start(
    executable: Path, data_dir: Path, port: int, credentials: Credentials, log: Path
) -> ChildProcess:
    """Start Label Studio and return once it answers.

    Args:
        executable: the `label-studio` program of its own environment.
        data_dir: where its database and uploads live; made when missing, closed to other users.
        port: where it listens, on 127.0.0.1 only.
        credentials: the account that the first start creates.
        log: receives its output.

    Raises:
        LocalServerError: it cannot be started or does not become healthy.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o700)  # the database, which every user could read, holds the token
    command = [str(executable), "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", str(port), "--data-dir", str(data_dir.resolve())]
    server = ChildProcess("Label Studio", command, environment(port, credentials), log)
    try:
        server.wait_until(lambda: answers(f"{url(port)}/health", timeout=2), _FIRST_START_SECONDS)
    except BaseException:
        server.stop()
        raise
    return server


def environment(port: int, credentials: Credentials) -> dict[str, str]:
    """The variables that make Label Studio work with a backend on its own machine, offline."""
    return {
        # both, or connecting succeeds without its webhook and nothing is ever learned
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        # /setup sends the owner's legacy token, which is refused unless this is set at first start
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_HOST": url(port),
        "LABEL_STUDIO_USERNAME": credentials.email,
        "LABEL_STUDIO_PASSWORD": credentials.password,
        "LABEL_STUDIO_USER_TOKEN": credentials.token,
        "DJANGO_DB": "sqlite",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        # nothing leaves the machine
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
        **PAST_PROXIES,
    }
