"""`python -m ml_backend diagnose`: check a connection to Label Studio and say what is wrong."""

import argparse
import sys

from ml_backend.connection.connection_checks import Level, check_connection
from ml_backend.errors import SettingsError
from ml_backend.label_studio.project_keys import project_number
from ml_backend.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; what is left out comes from the environment."""
    parser.add_argument(
        "--project", required=True, type=_number, help="its number in Label Studio, or its key"
    )
    parser.add_argument("--url", help="Label Studio as seen from here (LABEL_STUDIO_URL)")
    parser.add_argument("--api-key", help="token of this backend (LABEL_STUDIO_API_KEY)")
    parser.add_argument(
        "--backend-url", default="", help="this backend as Label Studio sees it; default: connected"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line a check; return 1 if something must be changed, else 0."""
    settings = load_settings()
    address = arguments.url or settings.label_studio_url
    if address is None:
        raise SettingsError("say where Label Studio is: --url, or LABEL_STUDIO_URL")
    findings = check_connection(
        address,
        arguments.api_key or settings.api_key or "",
        arguments.project,
        arguments.backend_url,
        settings.image_limits,
    )
    for finding in findings:
        sys.stdout.write(f"{finding.level.value:5}{finding.subject}: {finding.text}\n")
    return int(any(finding.level is Level.FAILURE for finding in findings))


def _number(text: str) -> str:
    number = project_number(text)
    if not number:
        raise argparse.ArgumentTypeError(f"{text} is no number or key of a project")
    return number
