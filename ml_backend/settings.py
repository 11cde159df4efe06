"""Every setting of the backend, and the only place that reads the environment.

Ours start with ICMFORMER_; the names that Label Studio's own backends use (LABEL_STUDIO_URL,
LABEL_STUDIO_API_KEY, BASIC_AUTH_USER, BASIC_AUTH_PASS, MODEL_DIR, LOG_LEVEL, PORT, WORKERS,
THREADS) are honoured as well. A misspelt ICMFORMER_ key stops the start: silence would be worse.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from croniter import CroniterError, croniter
from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from ml_backend.errors import SettingsError
from ml_backend.images.image_limits import ImageLimits
from ml_backend.label_studio.access_tokens import TOKEN_RULE, fits_a_header
from ml_backend.label_studio.addresses import ADDRESS_RULE, origin
from training.device_names import DeviceName
from training.home_paths import ExpandedPath
from training.misspelling import did_you_mean
from training.store.state_folder import StateFolder

PREFIX = "ICMFORMER_"
# Read by the tests to find data sets; nothing of the server.
NOT_OURS = frozenset({"ICMFORMER_DATA"})
MEGABYTE = 1 << 20
YEAR_OF_MINUTES = 525_600
_SERVICE_LINK = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_\w+)")
_FOLDER_ADDRESS = re.compile(r"[\w.+:-]+://.+|/.*")
_IMAGE_HOST = re.compile(r"[\w.-]+(:\d+)?|[\da-f:.]+")
_PATH_PREFIX = re.compile(r"(/[!-~]*)?")
_HOST = re.compile(r"([^:\[\]]*|\[[^\[\]]*\])(:\d*)?")
# The second is GNU's, which PyTorch's wheels for Linux bring, and counts rounds of a loop.
_OPENMP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}


def _also(name: str) -> AliasChoices:
    """Accept ICMFORMER_<NAME> first, then the bare <NAME> that other backends use."""
    return AliasChoices(f"{PREFIX}{name}", name)


class Settings(BaseSettings):
    """What an operator may choose. Values given to the constructor win over the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
        protected_namespaces=(),
    )

    # No bare HOST: shells set it to the name of the machine.
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every interface (set BASIC_AUTH_* then)."""
    port: int = Field(default=9090, ge=1, le=65535, validation_alias=_also("PORT"))
    workers: int = Field(default=1, ge=1, le=64, validation_alias=_also("WORKERS"))
    """Processes. Each loads its own copy of the network, all on the same device; on a GPU one is
    right."""
    threads: int = Field(default=32, ge=3, le=256, validation_alias=_also("THREADS"))
    """Requests a process works on at once; two are kept for other things than masks, and the
    network itself runs one after the other."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias=_also("LOG_LEVEL")
    )

    model_dir: ExpandedPath = Field(default=Path(".icmformer"), validation_alias=_also("MODEL_DIR"))
    """Everything that outlives the process: database, samples, model versions."""
    database_url: str | None = None
    """postgresql+psycopg://… (needs "psycopg[binary]"); else a SQLite file in MODEL_DIR."""
    files_url: str | None = None
    """Where images, masks and weights go: s3://… (needs s3fs) or what else fsspec knows;
    else a folder there."""
    queue_url: str | None = None
    """redis://… or postgresql://… (needs "psycopg[binary]"), for hints to the worker; else a
    SQLite file there."""
    checkpoint: ExpandedPath | None = None
    """A .safetensors file to serve instead of the network that ships with the project."""
    device: DeviceName = "auto"
    """auto (CUDA if there is one), cpu, cuda, cuda:1 …"""
    torch_threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads of one forward pass; 0 is torch's choice, within a container's quota."""

    label_studio_url: str | None = Field(default=None, validation_alias=_also("LABEL_STUDIO_URL"))
    """Label Studio as seen from here; without it, the address that /setup brings is used."""
    label_studio_api_key: SecretStr | None = Field(
        default=None, validation_alias=_also("LABEL_STUDIO_API_KEY")
    )
    """Legacy or personal access token; without it, clicks use the token that /setup brings, and
    the worker, which never sees that one, learns nothing."""
    basic_auth_user: str | None = Field(default=None, validation_alias=_also("BASIC_AUTH_USER"))
    basic_auth_pass: SecretStr | None = Field(
        default=None, validation_alias=_also("BASIC_AUTH_PASS")
    )

    max_body_mb: int = Field(default=64, ge=1)
    """Largest request body; Label Studio sends every saved mask of the task with each click."""
    max_image_mb: int = Field(default=200, ge=1)
    """Largest image file that is downloaded."""
    max_image_megapixels: int = Field(default=100, ge=1)
    """Largest image that is decoded."""
    allowed_image_hosts: str = ""
    """Hosts of the private network that tasks may name, as host or host:port, with commas."""
    max_clicks: int = Field(default=100, ge=1)
    """Most clicks on one object; each costs a pass of the network when it must be replayed."""
    image_cache_mb: int = Field(default=512, ge=0)
    """Decoded images kept in memory, so that the second click downloads nothing."""
    click_memory_mb: int = Field(default=512, ge=0)
    """Masks of objects being clicked, kept so that the next click costs one pass."""
    model_memory_mb: int = Field(default=4096, ge=1)
    """Weights kept in memory when projects are served by different versions; while versions are
    loaded, at most two more."""
    predict_seconds: float = Field(default=80.0, gt=0, lt=100)
    """When to give up on a request; Label Studio waits 100 s."""

    fine_tune_after: int = Field(default=20, ge=0)
    """New accepted masks of a project after which it is fine-tuned; 0 waits to be asked."""
    fine_tune_quiet_minutes: float = Field(default=10.0, ge=0, le=YEAR_OF_MINUTES)
    """How long nothing must have been accepted, so that a job has all of a sitting."""
    fine_tune_schedule: str = ""
    """Cron expression of five fields, UTC: when to fine-tune projects with anything new."""
    fine_tune_start: Literal["live", "base"] = "live"
    """What to start from: the live version, or the one all others descend from."""
    fine_tune_recipe: ExpandedPath | None = None
    """YAML with what differs from training/recipes/fine_tune.yaml."""
    fine_tune_threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads of a job; 0 is half the usable cores. Its priority is the lowest in any case."""
    retention_set: ExpandedPath | None = None
    """Folder of what a job must not forget; else the packaged one."""
    gate_iou: float = Field(default=0.85, ge=0.5, le=0.9)
    """The IoU whose number of clicks the gate compares; lower where outlines are uncertain."""
    gate_min_objects: int = Field(default=20, ge=1, le=120)
    """Held-out masks below which a person decides about a candidate; no job judges by over 120."""
    gate_min_images: int = Field(default=5, ge=1, le=90)
    """Held-out images, or images that judge what was forgotten, below which a person decides."""
    gate_max_retention_loss: float = Field(default=0.02, ge=0)
    """Share by which the retention set may need more clicks."""
    reconcile_minutes: float = Field(default=60.0, ge=0, le=YEAR_OF_MINUTES)
    """How often projects are compared with Label Studio; 0: only when asked, or `serve` starts."""

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, value: str) -> str:
        host = re.sub(r"^\[(.*)\]$", r"\1", value)
        if not host or re.search(r"[\s\[\]]", host):
            raise ValueError("must be the address of an interface, such as 0.0.0.0 or ::1")
        return host

    @field_validator("fine_tune_schedule")
    @classmethod
    def _cron_expression(cls, value: str) -> str:
        fields = value.upper().replace(",", " ").split()
        # croniter's R is another minute at every look. A name, such as @daily, is one field; where
        # there are six, other programs take the first for seconds, and croniter the last.
        is_random = any(field.startswith("R") for field in fields)
        is_clear = len(value.split()) in (1, 5) and not is_random
        if value and not (is_clear and _comes_round(value)):
            raise ValueError(
                'must be a cron expression of five fields, of days that exist, such as "0 3 * * *"'
            )
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("label_studio_url")
    @classmethod
    def _http_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address = value.strip().rstrip("/")
        if origin(address) is None:
            raise ValueError(ADDRESS_RULE)
        if "@" in urlsplit(address).netloc:
            raise ValueError("must hold no login, which is not sent, while the address is shown")
        return address

    @field_validator("label_studio_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not fits_a_header(value.get_secret_value().strip()):
            raise ValueError(TOKEN_RULE)
        return value

    @field_validator("database_url", "queue_url")
    @classmethod
    def _address_of_a_service(cls, value: str | None) -> str | None:
        # Whoever parses it otherwise takes a part of the password for host or port, and says so.
        if value is not None and not _can_be_parted(value):
            raise ValueError(
                "cannot be read: its port must be a number, and / ? # @ in a password must be "
                "written %2F %3F %23 %40"
            )
        return value

    @field_validator("files_url")
    @classmethod
    def _address_of_a_folder(cls, value: str | None) -> str | None:
        # Of s3:/bucket fsspec makes a folder of that name, wherever the process happens to run.
        if value is not None and not _FOLDER_ADDRESS.fullmatch(value):
            raise ValueError("must be the address of a folder, such as s3://bucket/icmformer")
        return value

    @field_validator("allowed_image_hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        if not all(map(_IMAGE_HOST.fullmatch, _parted(value))):
            raise ValueError("must be hosts, as host or host:port, with commas: minio,10.0.0.7:80")
        return value

    @model_validator(mode="after")
    def _whole_pairs(self) -> "Settings":
        # Half a login would leave the backend open to everyone.
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass):
            raise ValueError("set both BASIC_AUTH_USER and BASIC_AUTH_PASS, or neither")
        # Otherwise whoever calls /setup could name the address that the key is sent to.
        if self.label_studio_api_key and not self.label_studio_url:
            raise ValueError("LABEL_STUDIO_API_KEY needs LABEL_STUDIO_URL, the address it is for")
        # What /setup brings stays in the process that it reached.
        if self.workers > 1 and not self.label_studio_api_key:
            raise ValueError(
                "WORKERS above 1 needs LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY: only one of the "
                "processes hears what Label Studio says when it connects"
            )
        return self

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password of basic authentication, or None when it is off."""
        if not self.basic_auth_user or not self.basic_auth_pass:
            return None
        return self.basic_auth_user, self.basic_auth_pass.get_secret_value()

    @property
    def state_folder(self) -> StateFolder:
        """Where things are in MODEL_DIR."""
        return StateFolder(self.model_dir)

    @property
    def database(self) -> Path | str:
        """Where the database is."""
        return self.database_url or self.state_folder.database

    @property
    def inbox_database(self) -> Path | str:
        """The database that webhooks go to, see `ml_backend.learning.inbox`."""
        return self.database_url or self.state_folder.inbox

    @property
    def files(self) -> Path | str:
        """Where stored files are."""
        return self.files_url or self.state_folder.files

    @property
    def image_limits(self) -> ImageLimits:
        """What the image of a task may cost."""
        return ImageLimits(
            max_bytes=self.max_image_mb * MEGABYTE,
            max_pixels=self.max_image_megapixels * 1_000_000,
            allowed_hosts=frozenset(_parted(self.allowed_image_hosts)),
        )

    @property
    def api_key(self) -> str | None:
        """Label Studio's token from the environment, in the clear."""
        return self.label_studio_api_key.get_secret_value() if self.label_studio_api_key else None


def _parted(hosts: str) -> list[str]:
    return [host.strip().lower() for host in hosts.split(",") if host.strip()]


def _comes_round(schedule: str) -> bool:
    try:
        croniter(schedule).get_prev()
    except CroniterError:
        return False
    return True


def _can_be_parted(address: str) -> bool:
    """Say whether user, password, host and port of an address are beyond doubt."""
    authority, *beyond = re.split("[/?#]", address.partition("://")[2], maxsplit=1)
    *login, hosts = authority.split("@")
    is_cut_short = bool(authority) and "@" in "".join(beyond)
    ports_are_numbers = all(_HOST.fullmatch(host) for host in hosts.split(","))
    return len(login) <= 1 and not is_cut_short and ports_are_numbers


def load_settings() -> Settings:
    """Read and check the environment.

    Raises:
        SettingsError: one sentence a setting, naming the variable and what is wrong with it.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_sentences(error, os.environ))) from None


def path_prefix() -> str:
    """Return the path below which a proxy has all addresses, SCRIPT_NAME, without a last slash.

    Raises:
        SettingsError: no path begins with it, so gunicorn would answer nothing, not even /health.
    """
    prefix = os.environ.get("SCRIPT_NAME", "")
    if not _PATH_PREFIX.fullmatch(prefix) or {"?", "#"} & {*prefix}:
        raise SettingsError(
            f"SCRIPT_NAME is {prefix!r}, but it must begin with a slash and hold neither blanks "
            "nor ? or #, as the path in the address that Label Studio connects: /icmformer, with "
            "%C3%A4 for ä"
        )
    return prefix.rstrip("/")


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with `extra` on top, for a program it starts.

    Threads of torch that wait for each other spin for a moment, in which the next piece of a pass
    mostly comes, and then sleep, unless the environment says otherwise. Sleeping at once, a click
    takes half as long again (docs/experiments.md). OpenMP reads this when it is loaded, so a
    running process cannot change its mind.
    """
    return {**_OPENMP, **os.environ, **extra}


def unset(*fields: str) -> dict[str, str]:
    """Return what unsets these settings in a `child_environment`, whatever this process has.

    Every name of a setting is in it, also in the spelling that is in use here, with empty text,
    which counts as unset. A value can be given on top, under any of the names.
    """
    names = {name for field in fields for name in _names(field)}
    used = {name for name in os.environ if name.upper() in names}
    return dict.fromkeys(sorted(names | used), "")


def _names(field: str) -> list[str]:
    """Return the environment variables of a setting."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [f"{PREFIX}{field.upper()}"]


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields} | NOT_OURS
    for name in sorted(environment):
        if _SERVICE_LINK.fullmatch(name) or (
            name.startswith(PREFIX) and environment[name].startswith("tcp://")
        ):
            raise SettingsError(
                f"{name} is one of the variables that Kubernetes sets for a Service whose name "
                "begins with icmformer: name the Service otherwise, or set enableServiceLinks: "
                "false for the pod"
            )
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            hint = did_you_mean(name.upper(), known)
            raise SettingsError(f"{name} is not a setting of this backend{hint}")


def _sentences(error: ValidationError, environment: Mapping[str, str]) -> list[str]:
    """Say which variable is wrong, and why, without repeating its value: it may be a secret."""
    sentences = []
    for problem in error.errors(include_input=False, include_url=False):
        text = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            name = str(problem["loc"][0]).upper().removeprefix(PREFIX)
            variable = f"{PREFIX}{name}" if f"{PREFIX}{name}" in environment else name
            text = f"{variable}: {text[0].lower()}{text[1:]}"
        sentences.append(text)
    return sentences
