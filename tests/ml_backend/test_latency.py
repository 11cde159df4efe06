import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_situation_gets_a_row_and_nothing_fails(tmp_path, checkpoint):
    state = tmp_path / "state"
    arguments = ["latency", "--seconds", "3", "--state", str(state)]
    measured = subprocess.run(
        [sys.executable, "-m", "ml_backend", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "ICMFORMER_CHECKPOINT": str(checkpoint), "ICMFORMER_DEVICE": "cpu"},
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr + measured.stdout
    _, *rows, last = measured.stdout.splitlines()
    assert [row[:44].strip() for row in rows] == [
        "clicks, idle",
        "webhooks, idle",
        "webhooks, 8 annotators click",
        "clicks, a job trains",
        "webhooks, a job trains, 8 annotators",
    ]
    assert {row.split()[-1] for row in rows} == {"0"}
    assert last.startswith("the job was at: ")
