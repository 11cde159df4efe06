"""The environment is read once, checked, and answered in sentences."""

import os
from pathlib import Path

import pytest
from huey import storage
from pydantic import ValidationError

from ml_backend.errors import SettingsError
from ml_backend.learning.job_runner import improvement_options
from ml_backend.learning.work_queue import open_queue
from ml_backend.settings import Settings, child_environment, load_settings, unset


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    """Hide the settings of whoever runs the tests."""
    for name in list(os.environ):
        bare = name.removeprefix("ICMFORMER_").lower()
        if name.startswith("ICMFORMER_") or bare in Settings.model_fields:
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("ICMFORMER_PORT", "9191", "port", 9191),
        ("PORT", "9191", "port", 9191),
        ("WORKERS", "1", "workers", 1),
        ("THREADS", "3", "threads", 3),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("LABEL_STUDIO_URL", "http://ls:8080/", "label_studio_url", "http://ls:8080"),
        ("LABEL_STUDIO_URL", " http://[::1]:8080/ls ", "label_studio_url", "http://[::1]:8080/ls"),
        ("ICMFORMER_TORCH_THREADS", "4", "torch_threads", 4),
        ("ICMFORMER_HOST", "[::1]", "host", "::1"),
        ("ICMFORMER_HOST", "::1", "host", "::1"),
    ],
)
def test_variable_is_honoured(monkeypatch, variable, value, field, expected):
    monkeypatch.setenv(variable, value)
    assert getattr(load_settings(), field) == expected


def test_api_key_is_only_for_the_address_it_is_set_with(monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "abc")
    with pytest.raises(SettingsError, match="LABEL_STUDIO_API_KEY needs LABEL_STUDIO_URL"):
        load_settings()
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ls")
    assert load_settings().api_key == "abc"


@pytest.mark.parametrize("key", ["…", "é0123", "01\n23", "Token 0123"])
def test_an_api_key_that_no_header_can_hold_stops_the_start_and_is_not_repeated(monkeypatch, key):
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ls")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", key)
    with pytest.raises(SettingsError, match=r"^LABEL_STUDIO_API_KEY: must be .*ASCII") as error:
        load_settings()
    assert key not in str(error.value)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0123\n")
    assert load_settings().api_key == "0123\n"


def test_own_name_wins_over_the_bare_one(monkeypatch):
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("ICMFORMER_PORT", "2")
    assert load_settings().port == 2


def test_bare_names_without_a_tradition_are_not_read(monkeypatch):
    monkeypatch.setenv("HOST", "my-laptop")
    monkeypatch.setenv("DEVICE", "toaster")
    assert load_settings() == Settings()


def test_model_dir_is_honoured(monkeypatch, tmp_path):
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    assert load_settings().model_dir == tmp_path


@pytest.mark.parametrize("name", ["model_dir", "checkpoint", "fine_tune_recipe", "retention_set"])
def test_a_tilde_in_a_path_is_the_home_folder(monkeypatch, name):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv(f"ICMFORMER_{name.upper()}", "~/data")
    assert getattr(load_settings(), name) == Path("/home/ann/data")


def test_the_home_folder_of_nobody_is_refused(monkeypatch):
    monkeypatch.setenv("MODEL_DIR", "~nobody-here/x")
    with pytest.raises(SettingsError, match=r"MODEL_DIR: ~nobody-here/x: there is no such home"):
        load_settings()


def test_empty_variables_count_as_unset(monkeypatch):
    monkeypatch.setenv("BASIC_AUTH_USER", "")
    monkeypatch.setenv("BASIC_AUTH_PASS", "")
    monkeypatch.setenv("ICMFORMER_CHECKPOINT", "")
    assert load_settings().credentials is None
    assert load_settings().checkpoint is None


def test_what_is_unset_for_a_child_is_so_under_every_name(monkeypatch):
    for name in ("LABEL_STUDIO_URL", "ICMFORMER_LABEL_STUDIO_URL"):
        monkeypatch.setenv(name, "http://elsewhere")
    for name in ("ICMFORMER_DATABASE_URL", "icmformer_database_url"):
        monkeypatch.setenv(name, "postgresql+psycopg://elsewhere")
    for name, value in unset("label_studio_url", "database_url").items():
        monkeypatch.setenv(name, value)
    assert load_settings().label_studio_url is None
    assert load_settings().database_url is None
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://here")
    assert load_settings().label_studio_url == "http://here"


def test_login_is_complete_or_absent(monkeypatch):
    monkeypatch.setenv("BASIC_AUTH_USER", "ann")
    with pytest.raises(SettingsError, match="set both BASIC_AUTH_USER and BASIC_AUTH_PASS"):
        load_settings()
    monkeypatch.setenv("BASIC_AUTH_PASS", "secret")
    assert load_settings().credentials == ("ann", "secret")


def test_misspelt_key_is_refused_with_a_suggestion(monkeypatch):
    monkeypatch.setenv("ICMFORMER_CHEKPOINT", "x.safetensors")
    with pytest.raises(SettingsError, match=r"CHEKPOINT is not a setting.*ICMFORMER_CHECKPOINT"):
        load_settings()


def test_place_of_the_benchmark_data_does_not_disturb(monkeypatch):
    monkeypatch.setenv("ICMFORMER_DATA", "/data")
    assert load_settings() == Settings()


NO_ADDRESSES = (
    "10.0.0.7:8080",
    "http:///",
    "http://a:99999",
    "http://a:abc",
    "http://[::1",
    "http://a b",
)
NO_HOSTS = ("https://minio:9000", "*", "minio s3", "minio;s3", "10.0.0.0/8", "minio:9000/")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "70000"),
        ("ICMFORMER_DEVICE", "gpu"),
        ("LABEL_STUDIO_URL", "labelstudio:8080"),
        *(("LABEL_STUDIO_URL", address) for address in NO_ADDRESSES),
        ("LABEL_STUDIO_URL", "https://user:secret@labelstudio"),
        ("ICMFORMER_GATE_MIN_OBJECTS", "121"),
        ("ICMFORMER_PREDICT_SECONDS", "200"),
        ("ICMFORMER_FILES_URL", "s3:/bucket"),
        ("ICMFORMER_FILES_URL", "bucket/folder"),
        *(("ICMFORMER_ALLOWED_IMAGE_HOSTS", hosts) for hosts in NO_HOSTS),
        ("ICMFORMER_HOST", "0.0.0.0 ::"),
        ("ICMFORMER_HOST", "[::1"),
        ("ICMFORMER_RECONCILE_MINUTES", "inf"),
        ("ICMFORMER_FINE_TUNE_QUIET_MINUTES", "inf"),
        ("ICMFORMER_FINE_TUNE_QUIET_MINUTES", "1e12"),
        ("ICMFORMER_DATABASE_URL", "postgresql+psycopg://ann:secret@host:port/name"),
        ("LOG_LEVEL", "chatty"),
        ("ICMFORMER_FINE_TUNE_SCHEDULE", "at three"),
        ("ICMFORMER_FINE_TUNE_SCHEDULE", "0 0 30 2 *"),
        ("ICMFORMER_FINE_TUNE_SCHEDULE", "0 0 2 * * *"),
        ("ICMFORMER_FINE_TUNE_SCHEDULE", "R 3 * * *"),
        ("ICMFORMER_FINE_TUNE_SCHEDULE", "r(1-5) 3 * * *"),
    ],
)
def test_unusable_value_is_named_and_not_repeated(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{variable}: ") as caught:
        load_settings()
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "schedule", ["0 3 * * *", "0 3 * * FRI", "@daily", "0 0 29 2 *", "0 3 1 MAR *"]
)
def test_schedules_that_come_round_are_taken(monkeypatch, schedule):
    monkeypatch.setenv("ICMFORMER_FINE_TUNE_SCHEDULE", schedule)
    assert load_settings().fine_tune_schedule == schedule


def test_an_unknown_device_is_answered_with_those_there_are(monkeypatch):
    monkeypatch.setenv("ICMFORMER_DEVICE", "cudaa")
    with pytest.raises(SettingsError, match="must be auto, cpu, cuda, or one of several GPUs"):
        load_settings()


@pytest.mark.parametrize("variable", ["ICMFORMER_DATABASE_URL", "ICMFORMER_QUEUE_URL"])
@pytest.mark.parametrize("password", ["12/34", "ab/cd", "ab?cd", "ab#cd", "ab@cd"])
def test_a_password_that_ends_its_address_early_is_refused_and_not_repeated(
    monkeypatch, variable, password
):
    monkeypatch.setenv(variable, f"redis://ann:{password}@host:6379/0")
    with pytest.raises(SettingsError, match=f"^{variable}: .*/ \\? # @ in a password") as caught:
        load_settings()
    for part in (password[:2], password[3:]):
        assert part not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://ann:p%2Fw@host:5432/name",
        "postgresql+psycopg://ann:pw@[::1]:5432/name",
        "postgresql+psycopg://ann:pw@/name?host=/var/run/postgresql",
        "postgresql://ann@one:5432,two:5432/name",
        "redis://:pw@host",
        "sqlite:////data/state@home.db",
    ],
)
def test_addresses_that_can_be_read_are_taken(monkeypatch, address):
    monkeypatch.setenv("ICMFORMER_DATABASE_URL", address)
    assert load_settings().database_url == address


def test_hosts_of_images_are_taken_as_addresses_have_them(monkeypatch):
    monkeypatch.setenv("ICMFORMER_ALLOWED_IMAGE_HOSTS", " MinIO:9000, my_s3, 10.0.0.7,::1:80 ,")
    allowed = load_settings().image_limits.allowed_hosts
    assert allowed == {"minio:9000", "my_s3", "10.0.0.7", "::1:80"}


def test_secrets_do_not_show():
    settings = Settings(
        label_studio_url="http://ls",
        label_studio_api_key="tok-123",
        basic_auth_user="u",
        basic_auth_pass="pw-9",
    )
    assert "tok-123" not in repr(settings)
    assert "pw-9" not in repr(settings)


def test_unknown_argument_is_refused():
    with pytest.raises(ValidationError):
        Settings(prot=9090)


def test_programs_it_starts_do_not_spin_on_busy_cores(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    assert child_environment({"PORT": "1"})["OMP_WAIT_POLICY"] == "PASSIVE"
    assert 0 < int(child_environment({})["GOMP_SPINCOUNT"]) <= 10_000
    assert child_environment({"PORT": "1"})["PORT"] == "1"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert child_environment({})["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql://db/icmformer", r'install "psycopg\[binary\]"'),
        ("amqp://broker", "must start with redis:// or postgresql://"),
    ],
)
def test_queue_that_cannot_be_opened_is_said_in_a_sentence(monkeypatch, address, sentence):
    monkeypatch.setattr(storage, "psycopg", None)
    with pytest.raises(SettingsError, match=f"ICMFORMER_QUEUE_URL.*{sentence}"):
        open_queue(Settings(queue_url=address))


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_jobs_train_on_the_device_of_the_settings(device):
    assert improvement_options(Settings(device=device)).recipe.device == device


def test_the_gate_counts_clicks_to_the_iou_of_the_settings(monkeypatch):
    monkeypatch.setenv("ICMFORMER_GATE_IOU", "0.75")
    assert improvement_options(load_settings()).policy.threshold == 0.75


def test_several_processes_need_what_setup_tells_only_one_of_them(monkeypatch):
    monkeypatch.setenv("WORKERS", "2")
    with pytest.raises(SettingsError, match="LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"):
        load_settings()
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ls:8080")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0123")
    assert load_settings().workers == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ICMFORMER_PORT", "tcp://10.96.0.12:9090"),
        ("ICMFORMER_SERVICE_HOST", "10.96.0.12"),
        ("ICMFORMER_BACKEND_SERVICE_PORT_HTTP", "9090"),
        ("ICMFORMER_PORT_9090_TCP_ADDR", "10.96.0.12"),
    ],
)
def test_variables_of_kubernetes_are_recognised(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} .*enableServiceLinks: false"):
        load_settings()


def test_hosts_of_images_may_be_written_in_any_case_and_with_spaces(tmp_path):
    settings = Settings(model_dir=tmp_path, allowed_image_hosts=" Files.Example, 10.0.0.5:9000 ,,")
    assert settings.image_limits.allowed_hosts == {"files.example", "10.0.0.5:9000"}
