from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image

from icmformer import Predictor, build_model, load_checkpoint, save_checkpoint
from tests.training.disc_project import (
    PROJECT,
    accept,
    disc,
    draw_data_set,
    fill,
    job,
    options,
    quiet,
)
from training.fine_tuning import improvement, judge, trial
from training.fine_tuning.improvement import improve
from training.fine_tuning.improvement_plan import frozen_plan
from training.fine_tuning.judge import Judge
from training.fine_tuning.promotion import Decision, decide
from training.fine_tuning.retention import RetentionSet
from training.store.live_pointer import SITE, Mover, promote
from training.store.model_versions import Candidate
from training.store.samples import SampleStore


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """A project whose jobs are quick, and whose candidates go live."""
    monkeypatch.setattr(trial, "evaluate", partial(trial.evaluate, max_clicks=3))
    promoted = Decision("promote", ("as told",), None, None)
    monkeypatch.setattr(improvement, "decide", lambda *args: promoted)
    stores = fill(tmp_path)
    yield stores
    stores.database.close()


@pytest.fixture
def retention(tmp_path):
    return draw_data_set(tmp_path / "retention", range(500, 512))


def test_little_losses_do_not_add_up(tmp_path, stores, retention, monkeypatch):
    """Where the first version remembers more than the live one, it is the measure."""
    improve(job(tmp_path, 2), stores, options(retention=retention), quiet)
    assert stores.versions.get(2).scores["retention_compared_with"] == 1
    known, images = stores.versions.get(2).scores["known_held_out_images"]
    assert 0 <= known <= images == 3, "though the live version knows all"
    run_trial = judge.run_trial

    def forgetful(predictor, exercises, files, stage, report):
        scores = run_trial(predictor, exercises, files, stage, report)
        clicks = 1 if stage == "judging the first version" else 3
        ious = (0.82,) * (clicks - 1) + (0.87,)
        samples = tuple(replace(sample, ious=ious) for sample in scores["retention"].samples)
        return {**scores, "retention": replace(scores["retention"], samples=samples)}

    monkeypatch.setattr(judge, "run_trial", forgetful)
    monkeypatch.setattr(improvement, "decide", decide)
    accept(SampleStore(stores.database, stores.files), 99)
    outcome = improve(job(tmp_path, 3), stores, options(retention=retention), quiet)
    scores = stores.versions.get(outcome.version).scores
    assert (scores["compared_with"], scores["retention_compared_with"]) == (2, 1)
    assert scores["object_side"] > 0
    assert outcome.result == "not better"
    assert "forgot too much on the retention set: 1.00 → 3.00 clicks" in outcome.sentence


@pytest.mark.parametrize(("owner", "served"), [(PROJECT, PROJECT), ("another", SITE)])
def test_the_live_version_is_judged_wherever_a_job_starts(
    tmp_path, stores, retention, monkeypatch, owner, served
):
    """And where it is of a long line, the first of that; one of the project's own at home."""
    for number in (2, 3):
        torch.manual_seed(number)
        save_checkpoint(build_model("tiny"), tmp_path / f"{number}.safetensors")
        made = tmp_path / f"{number}.safetensors"
        candidate = Candidate(f"job {number}", made, project=owner, parent=number - 1)
        stores.versions.publish(candidate)
    move = partial(promote, project=served, version=3, mover=Mover("ann", "better"))
    stores.versions.move(move)
    judged = []

    def load(checkpoint, device):
        judged.append([checkpoint])
        return load_checkpoint(checkpoint, device)

    def predictor(network, at_home):
        judged[-1].append(at_home)
        return Predictor(network, at_home=at_home)

    monkeypatch.setattr(judge, "load_checkpoint", load)
    monkeypatch.setattr(judge, "Predictor", predictor)
    asked = options(start="base", retention=retention)
    plan = frozen_plan(job(tmp_path, 4), stores, asked, quiet)
    others = RetentionSet(retention)
    judging = Judge(job(tmp_path, 4), plan, stores, asked, others, quiet)
    _, measure = judging.measure()
    assert measure == 3, "none of the two finds anything"
    live, first = (stores.versions.checkpoint(number) for number in (3, 1))
    at_home = owner == PROJECT
    assert judging.live_at_home is at_home
    assert judged == [[live, at_home], [live, False], [first, False]]
    judged.clear()
    judging.candidate(live)
    assert judged == [[live, True]], "on the project's own objects; the others it was scored on"


def test_what_is_not_to_be_forgotten_is_clicked_once_a_version(tmp_path, stores, retention):
    """Later jobs read what versions scored on the retention set; held-out objects are others."""
    clicked = Counter()

    def count(stage, done, total):
        clicked[stage] = total

    improve(job(tmp_path, 2), stores, options(retention=retention), count)
    held_out, elsewhere = 3, clicked["judging the live version"] - 3
    assert elsewhere > 0
    assert clicked["judging the candidate"] == held_out + elsewhere
    accept(SampleStore(stores.database, stores.files), 99)
    clicked.clear()
    improve(job(tmp_path, 3), stores, options(retention=retention), count)
    assert stores.versions.live(PROJECT).version == 3
    assert clicked["judging the live version"] == held_out
    assert "judging the first version" not in clicked
    assert clicked["judging the candidate"] == held_out + elsewhere
    Image.fromarray(disc(600)[0]).save(retention / "images" / "0.png")
    accept(SampleStore(stores.database, stores.files), 98)
    clicked.clear()
    improve(job(tmp_path, 4), stores, options(retention=retention), count)
    assert clicked["judging the first version"] > 0, "another retention set"


def test_scores_of_another_release_or_of_other_tries_are_not_read(
    tmp_path, stores, retention, monkeypatch
):
    clicked = Counter()

    def count(stage, done, total):
        clicked[stage] = total

    def judged(number, tries):
        asked = replace(options(retention=retention), retention_tries=tries)
        clicked.clear()
        plan = frozen_plan(job(tmp_path, number), stores, asked, quiet)
        others = RetentionSet(retention)
        Judge(job(tmp_path, number), plan, stores, asked, others, count).measure()
        return clicked["judging the live version"] - held_out

    held_out = 3
    assert judged(2, tries=2) > 0
    assert judged(3, tries=2) == 0
    assert judged(4, tries=1) > 0
    monkeypatch.setattr(judge, "__version__", "another")
    assert judged(5, tries=2) > 0


def test_another_release_that_continues_a_job_judges_anew(tmp_path, stores, monkeypatch):
    """What one release needs for an object says nothing of what another does."""
    clicked = Counter()

    def count(stage, done, total):
        clicked[stage] = total

    def stop(stage, done, total):
        if stage == "preparing the images":
            raise InterruptedError
        count(stage, done, total)

    with pytest.raises(InterruptedError):
        improve(job(tmp_path), stores, options(), stop)
    assert clicked.pop("judging the live version") == 3
    with pytest.raises(InterruptedError):
        improve(job(tmp_path), stores, options(), stop)
    assert "judging the live version" not in clicked
    monkeypatch.setattr(judge, "__version__", "99.0")
    improve(job(tmp_path), stores, options(), count)
    assert clicked["judging the live version"] == clicked["judging the candidate"] == 3
