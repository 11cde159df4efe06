"""The systemd unit of the documents, which no test starts."""

import configparser
import re
import shutil
import subprocess
import sys

import pytest

from ml_backend.__main__ import PROGRAM
from tests.test_deployment import PAGE, instructions, settings_names

(UNIT,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(FILE,) = re.findall(r"`/etc/systemd/system/(\S+)`", PAGE)
SERVICE = configparser.RawConfigParser(strict=False)
SERVICE.optionxform = str
SERVICE.read_string(UNIT)
ENVIRONMENT = dict(each.split("=") for each in SERVICE["Service"]["Environment"].split())


def test_systemd_understands_it(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    program = SERVICE["Service"]["ExecStart"].split()[0]
    (tmp_path / FILE).write_text(UNIT.replace(program, sys.executable))
    unit = str(tmp_path / FILE.replace("@", "@serve"))
    found = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    assert not [line for line in found.stderr.splitlines() if str(tmp_path) in line], found.stderr
    assert found.returncode == 0, found.stderr


def test_it_starts_the_server_and_the_worker():
    (started,) = re.findall(r"^systemctl enable --now (.*)", PAGE, re.MULTILINE)
    before, after = FILE.removesuffix(".service").split("@")
    commands = [name.removeprefix(f"{before}@") for name in started.split()]
    assert (commands, after) == (["serve", "work"], "")
    assert set(commands) <= set(PROGRAM.commands)
    assert SERVICE["Service"]["ExecStart"].endswith("/.venv/bin/python -m ml_backend %i")


def test_state_is_in_the_folder_that_systemd_makes():
    assert ENVIRONMENT["MODEL_DIR"] == f"/var/lib/{SERVICE['Service']['StateDirectory']}"


def test_it_listens_where_a_container_does():
    assert set(ENVIRONMENT) <= settings_names()
    assert (
        f"ICMFORMER_HOST={ENVIRONMENT['ICMFORMER_HOST']}" in " ".join(instructions("ENV ")).split()
    )


def test_a_job_has_as_long_to_be_given_back_as_in_a_container():
    (grace,) = re.findall(r"--stop-timeout (\d+)", PAGE)
    assert SERVICE["Service"]["TimeoutStopSec"] == grace
