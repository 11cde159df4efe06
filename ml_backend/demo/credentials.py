"""The login of the demo's Label Studio, made once and kept beside its data."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from training.atomic_files import appearing


@dataclass(frozen=True)
class Credentials:
    """What a person logs in with, and what programs send."""

    email: str
    password: str
    token: str


def load_or_create(path: Path) -> Credentials:
    """The credentials kept in `path`, written there on the first call, readable by the owner."""
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    # Label Studio's legacy tokens are 40 hexadecimal digits
    credentials = Credentials(
        email="demo@example.com", password=secrets.token_urlsafe(9), token=secrets.token_hex(20)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.touch(mode=0o600)  # before anything is in it
    with appearing(path, unfinished) as file:
        file.write(json.dumps(asdict(credentials), indent=2).encode())
    return credentials
