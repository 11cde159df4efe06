"""What a continued job makes of settings that were changed since it began."""

from functools import partial

import pytest

from tests.training.disc_project import PROJECT, fill, job, options, quiet
from training.fine_tuning.improvement_plan import frozen_plan
from training.store.live_pointer import Mover, promote
from training.store.model_versions import Candidate


@pytest.fixture
def stores(tmp_path):
    stores = fill(tmp_path, discs=2)
    candidate = Candidate("job 0", tmp_path / "base.safetensors", PROJECT, parent=1)
    number = stores.versions.publish(candidate)
    stores.versions.move(
        partial(promote, project=PROJECT, version=number, mover=Mover("ann", "better"))
    )
    yield stores
    stores.database.close()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param(
            options("steps=9", "optimization.clip_grad_norm=0.5"),
            "steps, optimization",
            id="recipe",
        ),
        pytest.param(options(start="base"), "the version to start from", id="start"),
    ],
)
def test_a_continued_job_says_that_it_keeps_the_settings_it_began_with(
    stores, tmp_path, caplog, changed, said
):
    caplog.set_level("INFO", "training.fine_tuning.improvement_plan")
    began = frozen_plan(job(tmp_path), stores, options(), quiet)
    assert frozen_plan(job(tmp_path), stores, options(), quiet) == began
    elsewhere = frozen_plan(job(tmp_path), stores, options("device=cuda:1"), quiet)
    assert elsewhere.recipe_on("cuda:1").device == "cuda:1", "it learns the same there"
    assert caplog.messages == []
    assert frozen_plan(job(tmp_path), stores, changed, quiet) == began
    assert caplog.messages == [
        "job 1 continues with the settings it began with; what was changed meanwhile holds for "
        f"the next: {said}"
    ]
