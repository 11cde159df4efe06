"""What container files promise, as far as it can be known without an engine that builds them."""

import json
import re
import shutil
import stat
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from flask import Flask
from pydantic import AliasChoices, SecretStr

from ml_backend.__main__ import PROGRAM
from ml_backend.app import create_app
from ml_backend.connection.webhook_checks import is_host_for_webhooks
from ml_backend.demo import label_studio_server
from ml_backend.demo.credentials import Credentials
from ml_backend.settings import PREFIX, Settings
from tests.ml_backend.stand_in import serving

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
PAGE = (ROOT / "docs" / "deployment.md").read_text()
OURS = ("backend", "worker")
PACKAGES = ("icmformer", "training", "ml_backend")


def settings_names() -> set[str]:
    names = {f"{PREFIX}{field}".upper() for field in Settings.model_fields}
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {str(choice) for choice in field.validation_alias.choices}
    return names


def instructions(word: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line[len(word) :].strip() for line in joined.splitlines() if line.startswith(word)]


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint comes as a wheel for Linux on x86-64 only")
    found = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_base_images_are_pinned():
    images = [line.split()[0] for line in instructions("FROM ")]
    images.append(COMPOSE["services"]["label-studio"]["image"])
    for image in images:
        assert re.search(r":\d+\.\d+\.\d+", image), image


def test_a_wheel_has_every_file_that_is_no_module():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    globs = project["tool"]["setuptools"]["package-data"]
    packed = {path for name in globs for glob in globs[name] for path in (ROOT / name).glob(glob)}
    there = {path for name in globs for path in (ROOT / name).rglob("*.*")}
    assert {path for path in there if path.suffix not in (".py", ".pyc")} <= packed


def test_image_runs_as_somebody_else_than_root():
    assert instructions("USER ")[-1].isdigit()


def test_image_has_compiled_what_its_programs_do_not_keep():
    assert "PYTHONDONTWRITEBYTECODE=1" in " ".join(instructions("ENV "))
    install, compile_ours = instructions("RUN ")[0], instructions("RUN ")[-1]
    assert " --compile-bytecode " in install
    assert set(compile_ours.split()) >= {"compileall", *PACKAGES}


def test_image_has_a_health_check_of_a_route_that_answers_without_the_login(tmp_path):
    (check,) = instructions("HEALTHCHECK ")
    (route,) = re.findall(r" \+ '(/\w+)'", check)
    settings = Settings(model_dir=tmp_path, basic_auth_user="u", basic_auth_pass=SecretStr("p"))
    assert create_app(settings).test_client().get(route).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/icmformer"])
def test_the_health_check_passes_a_proxy_by_and_knows_the_prefix(prefix):
    """Docker puts the proxies of ~/.docker/config.json into every container."""
    (check,) = instructions("HEALTHCHECK ")
    program = json.loads(check[check.index("CMD ") + 4 :])
    server = Flask("health")
    server.get(f"{prefix}/health")(lambda: "")
    with serving(server) as url:
        port = url.rpartition(":")[2]
        proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        variables = {"PORT": port, "SCRIPT_NAME": prefix, **proxy}
        assert subprocess.run([sys.executable, *program[1:]], env=variables).returncode == 0


def test_image_starts_what_the_tests_start():
    assert instructions("ENTRYPOINT ") == ['["python", "-m", "ml_backend"]']
    assert instructions("CMD ") == ['["serve"]']
    assert {COMPOSE["services"][name]["command"][0] for name in OURS} <= set(PROGRAM.commands)


def test_image_copies_what_exists_and_is_not_ignored():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    for line in instructions("COPY "):
        if not line.startswith("--from"):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in kept


def test_image_leaves_every_setting_to_whoever_runs_it():
    """ICMFORMER_PORT set here would win over PORT, which people give to a container."""
    both = {
        str(choice)
        for field in Settings.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices)
        for choice in field.validation_alias.choices
        if str(choice).startswith(PREFIX)
    }
    variables = " ".join(instructions("ENV "))
    for name in OURS:
        variables += " ".join(COMPOSE["services"][name]["environment"])
    assert not [name for name in both if name in variables]
    assert "PORT=9090" in variables
    (check,) = instructions("HEALTHCHECK ")
    assert "e.get('ICMFORMER_PORT') or e['PORT']" in check


def test_every_variable_is_a_setting():
    mentioned = re.findall(rf"\b({PREFIX}[A-Z_]+)=", DOCKERFILE + COMPOSE_TEXT)
    for name in OURS:
        mentioned += COMPOSE["services"][name]["environment"]
    assert mentioned
    assert set(mentioned) <= settings_names() | {"LABEL_STUDIO_PASSWORD"}


def test_settings_in_dotenv_reach_both_services_and_are_not_overruled():
    for name in OURS:
        assert COMPOSE["services"][name]["env_file"] == [{"path": ".env", "required": False}]
        # where Label Studio and the volume are, compose knows best; the rest is the operator's
        assert COMPOSE["services"][name]["environment"].keys() == {
            "LABEL_STUDIO_URL",
            "LABEL_STUDIO_API_KEY",
            "MODEL_DIR",
            "LABEL_STUDIO_PASSWORD",
        }


def test_our_containers_may_no_more_than_they_need_and_do_not_get_the_password():
    for name in OURS:
        service = COMPOSE["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["environment"]["LABEL_STUDIO_PASSWORD"] == ""


def test_label_studio_gets_what_the_demo_gives_it():
    composed = COMPOSE["services"]["label-studio"]["environment"]
    demo = label_studio_server.environment(8080, Credentials("e", "p", "t"))
    switches = {name: value for name, value in demo.items() if value in {"true", "false"}}
    reports = {"SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}
    assert (switches | reports).items() <= composed.items()
    assert demo.keys() - composed.keys() <= {"DJANGO_DB", "NO_PROXY", "no_proxy"}


def test_label_studio_makes_a_webhook_to_the_address_that_is_to_be_connected():
    (host,) = COMPOSE["services"]["backend"]["networks"]["default"]["aliases"]
    assert is_host_for_webhooks(host)
    comment = COMPOSE_TEXT.split("\n\n")[0]
    for text in (comment, PAGE):
        assert f"http://{host}:9090" in text


def test_label_studio_is_the_version_that_the_tests_run():
    locked = re.search(
        r"^label-studio==(\S+)", (ROOT / "requirements-label-studio.txt").read_text(), re.MULTILINE
    )
    assert COMPOSE["services"]["label-studio"]["image"].endswith(f":{locked[1]}")


def test_nothing_listens_beyond_the_machine():
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_image_takes_no_gpu_that_nobody_gives_it():
    """In Kubernetes a container without a GPU in its limits would see all of the node."""
    assert "NVIDIA_VISIBLE_DEVICES" not in " ".join(instructions("ENV "))


def test_gpu_file_says_who_shares_what():
    text = (ROOT / "docker-compose.gpu.yml").read_text()
    services = yaml.safe_load(text)["services"]
    (comment,) = re.findall(r"\A(?:#.*\n)+", text)
    # by number, the first is taken for each
    assert services["backend"] == services["worker"]
    assert "which they share" in comment
    assert "device_ids" in comment


def test_secrets_are_not_written_down():
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or "TOKEN" in name.replace("LEGACY_API_TOKEN", ""):
                assert value.startswith("${") or value == "", name


def test_only_who_writes_the_secrets_of_compose_can_read_them(tmp_path):
    (command,) = re.findall(r"^test -f \.env .*", PAGE, re.MULTILINE)
    subprocess.run(["sh", "-c", f"umask 022; {command}"], cwd=tmp_path, check=True)
    written = tmp_path / ".env"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    secrets = dict(line.split("=") for line in written.read_text().splitlines())
    assert {name: len(value) for name, value in secrets.items()} == {
        "LABEL_STUDIO_PASSWORD": 24,
        "LABEL_STUDIO_TOKEN": 40,
    }


def test_what_the_documents_keep_secret_is_closed_to_others_and_to_git():
    ignored = (ROOT / ".gitignore").read_text().split()
    made = {*re.findall(r"> (\S*\.env)", PAGE), *re.findall(r"--env-file (\S+)", PAGE)}
    made |= set(re.findall(r"tar czf /backup/(\S+)", PAGE))
    assert made == {".env", "backend.env", "backend-data.tgz"}
    for name in made:
        assert any(fnmatch(name, pattern) for pattern in ignored), name
        assert re.search(rf"(umask 077; .*|chmod 600 ){re.escape(name)}", PAGE), name


def test_no_file_of_secrets_is_copied_into_the_image():
    *_, after = (ROOT / ".dockerignore").read_text().rpartition("!")
    assert "**/*.env" in after.split()
