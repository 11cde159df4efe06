import json
import shutil
import signal
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import pytest
import torch

from icmformer import build_model, save_checkpoint
from icmformer.errors import CheckpointError
from tests.training import disc_project, killed_promotion
from tests.training.disc_project import (
    POLICY,
    PROJECT,
    accept,
    draw_data_set,
    fill,
    job,
    judge_with_few_clicks,
    open_stores,
    options,
    quiet,
)
from tests.training.mortal import exit_code
from training.errors import StoredFileError, VersionError
from training.evaluation.figures import iou_curves
from training.evaluation.noc import ScoreCard
from training.fine_tuning import improvement, trial
from training.fine_tuning.improvement import improve
from training.fine_tuning.improvement_plan import Assignment
from training.fine_tuning.promotion import Decision
from training.store.live_pointer import Mover, pin, promote, roll_back
from training.store.samples import SampleStore


@pytest.fixture(scope="module", autouse=True)
def few_clicks():
    """Judge with few clicks: most of what a job does would be clicking, and take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "evaluate", trial.evaluate)  # for it to come back
        judge_with_few_clicks()
        yield


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    fill(folder).database.close()
    return folder


@pytest.fixture(scope="module")
def judged(filled, tmp_path_factory):
    """A job that was stopped when everything was judged and nothing decided."""
    folder = tmp_path_factory.mktemp("judged") / "data"
    shutil.copytree(filled, folder)
    stores = open_stores(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(improvement, "decide", Mock(side_effect=InterruptedError))
        with pytest.raises(InterruptedError):
            improve(job(folder), stores, options(), quiet)
    stores.database.close()
    return folder


@pytest.fixture
def folder(judged, tmp_path):
    shutil.copytree(judged, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def stores(folder):
    stores = open_stores(folder)
    yield stores
    stores.database.close()


@pytest.fixture
def verdict(monkeypatch):
    """Let a test say what the gate says: a few training steps prove nothing."""

    def set_verdict(said):
        monkeypatch.setattr(
            improvement, "decide", lambda *args: Decision(said, ("as told",), None, None)
        )

    return set_verdict


def test_a_better_candidate_goes_live(folder, stores, verdict):
    verdict("promote")
    outcome = improve(job(folder), stores, options(), quiet)
    assert (outcome.result, outcome.version) == ("promoted", 2)
    assert stores.versions.live(PROJECT).version == 2
    version = stores.versions.get(2)
    assert (version.parent, version.project, version.reasons) == (1, PROJECT, ["as told"])
    assert version.recipe["steps"] == 4
    assert version.scores["known_held_out_images"] is None  # nothing is told apart
    assert version.scores["object_side"] is None
    assert stores.versions.live("another project").version == 1


def test_a_worse_candidate_is_published_and_stays_where_it_is(folder, stores, verdict):
    verdict("keep")
    outcome = improve(job(folder), stores, options(), quiet)
    assert (outcome.result, outcome.version) == ("not better", 2)
    assert stores.versions.live(PROJECT).version == 1


def test_the_real_gate_has_the_last_word_and_explains_itself(folder, stores):
    outcome = improve(
        job(folder), stores, options(policy=replace(POLICY, min_objects=20, min_images=5)), quiet
    )
    assert outcome.result == "asked"
    assert "20 objects on 5 images are needed to be sure" in outcome.sentence
    assert "retention set has no object to judge by" in outcome.sentence
    assert stores.versions.live(PROJECT).version == 1


def scores_of(whose, folder):
    (kept,) = (folder / "job-1").glob(f"{whose}_scores-*.json")
    return kept


def test_the_report_shows_curves_and_what_changed(folder, stores):
    loose = options(policy=replace(POLICY, threshold=0.7))
    told = []
    outcome = improve(job(folder), stores, loose, lambda stage, *_: told.append(stage))
    report = json.loads(stores.files.read(stores.versions.get(outcome.version).report))
    live, candidate = (
        ScoreCard.from_json(scores_of(whose, folder).read_text()) for whose in ("live", "candidate")
    )
    cards = {"before": live, "candidate": candidate}
    assert report["curves"]["held_out"] == iou_curves("held-out objects", cards, (0.7,))
    changed = report["improved"] + report["worse"]
    assert changed
    assert all(pair["live"].startswith("data:image/jpeg") for pair in changed)
    assert all(pair["live_iou"] < pair["candidate_iou"] for pair in report["improved"])
    assert all(pair["live_iou"] > pair["candidate_iou"] for pair in report["worse"])
    # before each click people may come first, or stop the job
    clicks = sum(pair["clicks"] for pair in changed)
    assert 2 * len(changed) <= told.count("drawing the report") <= 2 * clicks
    assert list(dict.fromkeys(told))[-2:] == ["drawing the report", "deciding"]


def test_the_report_shows_nothing_that_was_withdrawn_meanwhile(folder, stores):
    withdraw = SampleStore(stores.database, stores.files).withdraw_tasks
    loose = options(policy=replace(POLICY, threshold=0.7))
    outcome = improve(job(folder), stores, loose, lambda *_: withdraw(PROJECT, range(24)))
    report = json.loads(stores.files.read(stores.versions.get(outcome.version).report))
    assert report["curves"]["held_out"]
    assert report["improved"] + report["worse"] == []


def test_nothing_new_is_not_trained_on_twice(folder, stores, verdict):
    verdict("promote")
    improve(job(folder, 1), stores, options(), quiet)
    again = improve(job(folder, 2), stores, options(), quiet)
    assert (again.result, again.version) == ("unchanged", None)
    assert "nothing was accepted since version 2" in again.sentence
    accept(SampleStore(stores.database, stores.files), 99)
    assert improve(job(folder, 3), stores, options(), quiet).version == 3


def test_a_candidate_is_made_again_where_something_else_is_asked_for(folder, stores, verdict):
    verdict("keep")
    improve(job(folder, 1), stores, options(), quiet)
    assert improve(job(folder, 2), stores, options(), quiet).result == "unchanged"
    of_the_gate = options(policy=replace(POLICY, threshold=0.7))
    not_to_be_forgotten = options(retention=draw_data_set(folder / "retention", [500]))
    to_be_learned = options("steps=2")
    for number, asked in enumerate((of_the_gate, not_to_be_forgotten, to_be_learned), start=3):
        assert improve(job(folder, number), stores, asked, quiet).version == number


def test_a_candidate_whose_files_were_damaged_is_made_again(folder, stores, verdict):
    verdict("ask")
    improve(job(folder, 1), stores, options(), quiet)
    damage(stores.versions.checkpoint(2))
    assert improve(job(folder, 2), stores, options(), quiet).version == 3


@pytest.mark.parametrize(("goes_on", "result"), [(1, "promoted"), (2, "unchanged")])
def test_what_a_person_rolled_back_stays_so(folder, stores, verdict, goes_on, result):
    verdict("promote")
    improve(job(folder), stores, options(), quiet)
    stores.versions.move(partial(roll_back, project=PROJECT, mover=Mover("ann", "worse")))
    assert improve(job(folder, goes_on), stores, options(), quiet).result == result
    assert stores.versions.live(PROJECT).version == 1


@pytest.mark.parametrize("said", ["keep", "promote"])
def test_the_base_to_start_from_is_something_new(folder, stores, verdict, said):
    verdict("promote")
    improve(job(folder, 1), stores, options(), quiet)
    accept(SampleStore(stores.database, stores.files), 99)
    verdict(said)
    assert improve(job(folder, 2), stores, options(), quiet).version == 3
    assert improve(job(folder, 3), stores, options(), quiet).result == "unchanged"
    assert improve(job(folder, 4), stores, options(start="base"), quiet).version == 4
    version, live = stores.versions.get(4), 2 if said == "keep" else 3
    assert (version.parent, version.scores["compared_with"]) == (1, live)
    assert improve(job(folder, 5), stores, options(start="base"), quiet).result == "unchanged"


def test_without_a_mask_to_train_on_it_says_so(stores, tmp_path):
    outcome = improve(Assignment("9.9", "job 9", tmp_path, tmp_path), stores, options(), quiet)
    assert outcome.result == "unchanged"
    assert "no accepted mask" in outcome.sentence


@pytest.mark.parametrize("moved", ["pinned", "rolled on"])
def test_what_people_did_meanwhile_is_respected(folder, stores, verdict, moved):
    verdict("promote")
    torch.manual_seed(1)
    save_checkpoint(build_model("tiny"), folder / "other.safetensors")
    other = stores.versions.register_base(folder / "other.safetensors")
    person = Mover("ann", "because")
    stores.versions.move(partial(promote, project="", version=1, mover=person))
    moves = {
        "pinned": partial(pin, project=PROJECT, mover=person),
        "rolled on": partial(promote, project=PROJECT, version=other, mover=person),
    }

    def act(stage, done, total):
        if stage == "deciding":
            stores.versions.move(moves[moved])

    outcome = improve(job(folder), stores, options(), act)
    assert outcome.result == "asked"
    assert "it does not go live by itself" in outcome.sentence
    assert stores.versions.live(PROJECT).version == (1 if moved == "pinned" else other)


def test_a_candidate_that_a_person_promoted_meanwhile_is_said_to_be_live(folder, stores, verdict):
    verdict("promote")

    def act(stage, done, total):
        if stage == "going live":
            move = partial(promote, project=PROJECT, version=2, mover=Mover("ann", "because"))
            stores.versions.move(move)

    outcome = improve(job(folder), stores, options(), act)
    assert (outcome.result, outcome.sentence) == ("promoted", "as told")
    assert [move.by for move in stores.versions.history(PROJECT)] == ["ann"]


@pytest.mark.parametrize("goes_on", [1, 2])
def test_stopped_at_the_last_moment_it_goes_live_with_the_next(folder, stores, verdict, goes_on):
    verdict("promote")

    def cancelled(stage, done, total):
        if stage == "going live":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        improve(job(folder), stores, options(), cancelled)
    assert stores.versions.live(PROJECT).version == 1
    assert improve(job(folder, goes_on), stores, options(), quiet).result == "promoted"


def test_a_job_that_was_killed_before_it_vouched_for_its_candidate_is_continued(
    folder, stores, verdict
):
    verdict("promote")
    (folder / "job-1" / "candidate.sha256").unlink()
    assert improve(job(folder), stores, options(), quiet).result == "promoted"


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("stage", ["judging the candidate", "deciding"])
def test_a_damaged_candidate_is_refused(folder, stores, verdict, stage, suffix):
    verdict("promote")
    scores_of("candidate", folder).unlink()
    damaged = []

    def act(reported, done, total):
        if reported != stage or damaged:
            return
        published = set((folder / "files" / "versions").rglob(f"model{suffix}"))
        (own, *_) = published - {stores.versions.checkpoint(1).with_suffix(suffix)} or {None}
        target = own if stage == "deciding" else folder / "job-1" / f"candidate{suffix}"
        damage(target)
        damaged.append(target)

    with pytest.raises((VersionError, CheckpointError), match=r"damaged|altered|JSON"):
        improve(job(folder), stores, options(), act)
    assert damaged
    assert stores.versions.live(PROJECT).version == 1
    # Trying again does not help it.
    with pytest.raises((VersionError, CheckpointError)):
        improve(job(folder), stores, options(), quiet)
    assert stores.versions.live(PROJECT).version == 1


def test_a_candidate_that_was_damaged_after_it_was_judged_is_not_published(folder, stores):
    def act(stage, done, total):
        if stage == "drawing the report":
            (folder / "job-1" / "candidate.json").write_bytes(b"")

    with pytest.raises(VersionError, match="damaged after it was trained"):
        improve(job(folder), stores, options(policy=replace(POLICY, threshold=0.7)), act)
    assert [version.number for version in stores.versions.usable_by(PROJECT)] == [1]


def damage_images(folder):
    for image in (folder / "files" / "images").rglob("*.png"):
        image.write_bytes(b"")


def test_damaged_samples_are_set_aside_until_they_are_stored_again(folder, stores):
    shutil.rmtree(folder / "job-1")
    damage_images(folder)
    outcome = improve(job(folder, 1), stores, options(), quiet)
    assert outcome.result == "unchanged"
    samples = SampleStore(stores.database, stores.files)
    for number in range(24):
        accept(samples, number)
    assert improve(job(folder, 2), stores, options(), quiet).version is not None


def test_damaged_samples_are_learned_from_again_once_their_files_are_back(folder, stores):
    shutil.rmtree(folder / "job-1")
    shutil.copytree(folder / "files" / "images", folder / "backup")
    damage_images(folder)
    assert improve(job(folder, 1), stores, options(), quiet).result == "unchanged"
    shutil.copytree(folder / "backup", folder / "files" / "images", dirs_exist_ok=True)
    assert improve(job(folder, 2), stores, options(), quiet).version is not None


def test_a_sample_that_is_damaged_later_stops_the_job_before_it_does_harm(folder, stores, verdict):
    verdict("promote")
    scores_of("live", folder).unlink()
    damage_images(folder)
    with pytest.raises(StoredFileError):
        improve(job(folder), stores, options(), quiet)
    assert stores.versions.live(PROJECT).version == 1


def test_half_of_a_retention_set_judges_a_job_that_began_without(folder, stores):
    retention = draw_data_set(folder / "retention", range(500, 512))
    outcome = improve(job(folder), stores, options(retention=retention), quiet)
    scores = stores.versions.get(outcome.version).scores
    assert 1 <= scores["retention"]["objects"] <= 2
    assert "retention set" in outcome.sentence


def ending(folder):
    """What is left when a job has ended, without times."""
    stores = open_stores(folder)
    versions = [
        (row.number, row.origin, row.weights_sha256, row.verdict, row.reasons)
        for row in stores.versions.usable_by(PROJECT)
    ]
    moves = [(row.version, row.move) for row in stores.versions.history(PROJECT)]
    live = stores.versions.live(PROJECT)
    stores.database.close()
    return versions, moves, live


@pytest.mark.slow
def test_killed_at_any_stage_it_ends_as_if_it_had_not_been(filled, tmp_path):
    shutil.copytree(filled, tmp_path / "whole")
    assert exit_code(disc_project.work, tmp_path / "whole", 0) == 0
    stages = (tmp_path / "whole" / "reports.txt").read_text().splitlines()
    assert len(set(stages)) >= 7
    for stage in set(stages):
        kill_at = stages.index(stage) + (stages.count(stage) + 1) // 2  # in its middle
        folder = tmp_path / f"killed at {kill_at}"
        shutil.copytree(filled, folder)
        assert exit_code(disc_project.work, folder, kill_at) == -signal.SIGKILL
        assert exit_code(disc_project.work, folder, 0) == 0
        assert ending(folder) == ending(tmp_path / "whole"), f"killed while {stage}"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "uncommitted", "committed"])
@pytest.mark.parametrize("table", ["versions", "live_moves"])
def test_killed_while_it_publishes_or_promotes(folder, verdict, table, moment):
    assert exit_code(killed_promotion.work, folder, table, moment) == -signal.SIGKILL
    stores = open_stores(folder)
    written = stores.versions.history(PROJECT) if table == "live_moves" else [
        row for row in stores.versions.usable_by(PROJECT) if row.parent
    ]  # fmt: skip
    assert len(written) == int(moment == "committed")
    verdict("promote")
    outcome = improve(job(folder), stores, options(), quiet)
    assert (outcome.result, outcome.version) == ("promoted", 2)
    assert [move.version for move in stores.versions.history(PROJECT)] == [2]
    assert len(stores.versions.usable_by(PROJECT)) == 2
    stores.database.close()
