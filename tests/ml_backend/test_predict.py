"""/predict through the real application, the real predictor and a tiny real network."""

import io
import re
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from icmformer import Click, ICMFormer, Predictor, build_model
from icmformer.checkpoint import load_checkpoint, save_checkpoint
from ml_backend import model
from ml_backend.app import create_app
from ml_backend.deadline import Deadline
from ml_backend.images.image_decoding import decode
from ml_backend.label_studio.drawn_objects import drawn_objects
from ml_backend.label_studio.labeling_config import parse
from tests.ml_backend.label_studio_requests import (
    SIZE_HW,
    batch,
    by_hand,
    clicks,
    keypoint,
    mask_of,
    predict,
    recorded,
    saved_task,
)
from tests.ml_backend.stand_in import Elsewhere, serving
from tests.waiting import PATIENCE
from training.store.live_pointer import Mover, promote
from training.store.model_versions import Candidate, version_name

FIRST, SECOND = keypoint(61.4, 54.7, id="a"), keypoint(31.1, 68.9, id="b")
NEGATIVE = keypoint(78.4, 31.1, id="c", positive=False)


def regions(client, body):
    (prediction,) = predict(client, body)
    assert "error" not in prediction, prediction["error"]
    return prediction["result"]


def region(client, body):
    (found,) = regions(client, body)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "click1_positive",
        "click2_positive",
        "click3_negative_alt",
        "click4_other_label",
        "click5",
        "after_accept",
        "after_accept_with_draft",
        "after_drag_keypoint",
        "autoaccept_click1",
        "autoaccept_click2",
        "click_after_draft_saved",
        "existing_annotation",
        "existing_annotation_with_draft",
        "exif6",
        "rotated_90",
        "smart_rectangle",
        "with_saved_keypoint",
        "zoomed",
    ],
)
def test_every_recorded_interaction_gets_one_region(client, name):
    body = recorded(f"predict_{name}")
    drawn = body["params"]["context"]["result"][-1]
    found = region(client, body)
    label = (drawn["value"].get("labels") or drawn["value"]["rectanglelabels"])[0]
    assert found["value"]["brushlabels"] == [label]
    assert (found["from_name"], found["to_name"]) == ("brush", "image")
    assert (found["type"], found["value"]["format"]) == ("brushlabels", "rle")
    assert found["original_width"] == drawn["original_width"]
    assert found["original_height"] == drawn["original_height"]
    assert mask_of(found).any()


def test_mask_is_what_the_predictor_computes(client, checkpoint, label_studio):
    data = label_studio.files["upload/2/7eff500a-103070.jpg"]
    image = decode(data, 1_000_000)
    height, width = SIZE_HW
    predictor = Predictor(load_checkpoint(checkpoint))
    expected = predictor.segment(image, [Click(0.614 * width, 0.547 * height, positive=True)])
    found = region(client, clicks(FIRST))
    np.testing.assert_array_equal(mask_of(found), expected.mask)
    assert found["score"] == pytest.approx(expected.probability[expected.mask].mean(), abs=1e-4)


def test_prediction_says_which_version_made_it_and_how_sure(client, app):
    (prediction,) = predict(client, clicks(FIRST))
    version = app.extensions["icmformer"].pointer.live("2").name
    assert prediction["model_version"] == version
    assert prediction["model_version"].startswith("tiny-")
    assert prediction["score"] == prediction["result"][0]["score"]
    assert 0.49 < prediction["score"] < 1


def test_second_click_reads_the_mask_of_the_first_and_costs_one_pass(client, app, label_studio):
    counter = app.extensions["icmformer"].metrics.clicks
    first = region(client, clicks(FIRST))
    assert count(counter) == 1
    second = region(client, clicks(FIRST, SECOND))
    assert count(counter) == 2
    third = region(client, clicks(FIRST, SECOND, NEGATIVE))
    assert count(counter) == 3
    assert len({found["id"] for found in (first, second, third)}) == 1
    assert not np.array_equal(mask_of(first), mask_of(third))
    assert len(label_studio.paths("/data/upload/")) == 1


def count(counter):
    return counter._value.get()


def test_restart_in_the_middle_changes_nothing(client, settings):
    for body in (clicks(FIRST), clicks(FIRST, SECOND)):
        region(client, body)
    remembered = region(client, clicks(FIRST, SECOND, NEGATIVE))
    elsewhere = create_app(settings).test_client()
    assert region(elsewhere, clicks(FIRST, SECOND, NEGATIVE)) == remembered


def test_forgetting_in_the_middle_changes_nothing(client, app):
    region(client, clicks(FIRST, SECOND))
    remembered = region(client, clicks(FIRST, SECOND, NEGATIVE))
    app.extensions["icmformer"].sessions.clear()
    assert region(client, clicks(FIRST, SECOND, NEGATIVE)) == remembered


def test_a_file_replaced_in_the_middle_starts_afresh(
    client, app, settings, label_studio, monkeypatch
):
    name = "upload/2/7eff500a-103070.jpg"
    region(client, clicks(FIRST, SECOND))
    upright = Image.fromarray(decode(label_studio.files[name], 1_000_000))
    mirrored = io.BytesIO()
    upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored, "PNG")
    label_studio.files[name] = mirrored.getvalue()
    images = app.extensions["icmformer"].images
    monkeypatch.setattr(images, "_kept_seconds", 0.0)  # what was fetched is forgotten
    fresh = create_app(settings).test_client()
    new = clicks(FIRST, SECOND, NEGATIVE)
    assert region(client, new) == region(fresh, new)


def test_a_version_of_its_own_answers_what_the_one_before_has_answered(
    client, app, settings, tmp_path
):
    body = clicks(FIRST)
    before = region(client, body)
    with torch.random.fork_rng():
        torch.manual_seed(8)
        save_checkpoint(build_model("tiny"), tmp_path / "own.safetensors")
    backend, project = app.extensions["icmformer"], body["project"]
    versions = backend.learning.stores.versions
    number = versions.publish(Candidate("job 1", tmp_path / "own.safetensors", project=project))
    versions.move(partial(promote, project=project, version=number, mover=Mover("ann", "")))
    backend.pointer.refresh()
    (prediction,) = predict(client, body)
    assert prediction["model_version"] == version_name(versions.get(number))
    assert prediction["result"] == regions(create_app(settings).test_client(), body) != [before]
    assert region(client, {**body, "project": "3.1"}) == before


@pytest.mark.parametrize(
    "after",
    [
        [FIRST, NEGATIVE],
        [FIRST],
        [FIRST, keypoint(35, 65, id="b"), NEGATIVE],
        [keypoint(60, 50, id="a"), SECOND],
        [SECOND, NEGATIVE],
    ],
    ids=["one deleted", "two undone", "second dragged", "first dragged", "first deleted"],
)
def test_undo_delete_and_drag_give_what_a_fresh_process_gives(client, settings, after):
    for known in ([FIRST], [FIRST, SECOND], [FIRST, SECOND, NEGATIVE]):
        region(client, clicks(*known))
    fresh = create_app(settings).test_client()
    assert regions(client, clicks(*after)) == regions(fresh, clicks(*after))


def test_deleting_a_later_click_keeps_the_region(client):
    before = region(client, clicks(FIRST, SECOND))
    assert region(client, clicks(FIRST, NEGATIVE))["id"] == before["id"]


def test_next_object_gets_a_region_of_its_own(client):
    accepted = region(client, clicks(FIRST))
    # After accepting, the keypoints are gone and a click in the very same place has a new id.
    assert region(client, clicks({**FIRST, "id": "z"}))["id"] != accepted["id"]


def test_same_keypoint_id_on_another_task_or_label_is_another_region(client):
    ids = {
        region(client, clicks(FIRST, task=1))["id"],
        region(client, clicks(FIRST, task=2))["id"],
        region(client, clicks({**FIRST, **keypoint(61.4, 54.7, label="Other")}, task=1))["id"],
    }
    assert len(ids) == 3


def test_labels_are_kept_apart(client, settings):
    other = keypoint(20, 20, id="o", label="Other")
    (prediction,) = predict(client, clicks(FIRST, other, SECOND))
    both = prediction["result"]
    assert [found["value"]["brushlabels"] for found in both] == [["Object"], ["Other"]]
    low, high = sorted(found["score"] for found in both)
    assert prediction["score"] == low < high
    alone = create_app(settings).test_client()
    assert regions(alone, clicks(FIRST, SECOND)) == both[:1]
    assert regions(alone, clicks(other)) == both[1:]


def test_unknown_label_is_answered_with_nothing_and_a_log_line(client, caplog):
    (prediction,) = predict(client, clicks(keypoint(50, 50, label="Zebra")))
    assert prediction["result"] == []
    assert "Zebra" in caplog.text


def test_keypoints_that_were_saved_or_drawn_by_hand_do_not_count(client):
    drawn = by_hand(31.1, 68.9, id="b")
    assert region(client, clicks(drawn, FIRST)) == region(client, clicks(FIRST))


def test_rectangle_gives_a_mask_inside_it(client):
    body = recorded("predict_smart_rectangle")
    value = body["params"]["context"]["result"][0]["value"]
    mask = mask_of(region(client, body))
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    assert rows.min() >= int(value["y"] / 100 * height)
    assert rows.max() <= (value["y"] + value["height"]) / 100 * height
    assert columns.min() >= int(value["x"] / 100 * width)
    assert columns.max() <= (value["x"] + value["width"]) / 100 * width


def test_rectangle_is_answered_as_the_predictor_answers_a_box(client, checkpoint, label_studio):
    body = recorded("predict_smart_rectangle")
    (task,), context = body["tasks"], body["params"]["context"]
    data = label_studio.files[task["data"]["image"].removeprefix("/data/")]
    image = decode(data, 1_000_000)
    (drawn,) = drawn_objects(task, context, parse(body["label_config"]), image.shape[:2])
    expected = Predictor(load_checkpoint(checkpoint)).segment_box(image, drawn.box)
    np.testing.assert_array_equal(mask_of(region(client, body)), expected.mask)


def test_nothing_drawn_is_answered_with_nothing(client):
    (prediction,) = predict(client, clicks())
    assert prediction["result"] == []
    assert prediction["score"] == 0.0


def test_a_batch_stores_nothing_for_tasks_without_keypoints_and_loads_nothing(client, label_studio):
    """Label Studio would store an empty result, and never ask this version again."""
    for body in (recorded("predict_batch_retrieve"), recorded("predict_test_request")):
        assert predict(client, body) == [[]] * len(body["tasks"])
    assert label_studio.requests == []


@pytest.mark.parametrize("kind", ["annotations", "predictions"])
def test_batch_turns_saved_clicks_into_the_mask_the_annotator_would_have_seen(client, kind):
    saved, untouched = predict(
        client, batch(saved_task(FIRST, SECOND, kind=kind), saved_task(task=10))
    )
    (found,) = saved["result"]
    body = clicks(FIRST, SECOND)
    body["tasks"][0]["data"] = saved_task()["data"]
    assert found["value"] == region(client, body)["value"]
    assert untouched == []


def test_batch_takes_every_keypoint_drawn_by_hand_for_an_object(client):
    points = by_hand(61.4, 54.7, id="a"), by_hand(31.1, 68.9, id="b")
    (prediction,) = predict(client, batch(saved_task(*points)))
    assert len({found["id"] for found in prediction["result"]}) == 2


def test_bad_task_does_not_spoil_the_batch(client):
    missing = saved_task(FIRST, task=1)
    missing["data"] = {"image": "/data/upload/2/gone.jpg"}
    wrong = saved_task({**FIRST, "value": {"x": float("nan")}}, task=2)
    nothing = {"id": 3}
    first, second, third, last = predict(
        client, batch(missing, wrong, nothing, saved_task(FIRST, task=4))
    )
    assert first.keys() == second.keys() == {"error", "model_version"}
    assert third == []
    assert "gone.jpg" in first["error"]
    assert "keypoint" in second["error"]
    assert len(last["result"]) == 1


def test_batch_that_takes_too_long_makes_label_studio_ask_one_by_one(settings):
    tasks = [saved_task(FIRST, SECOND, task=number) for number in range(3)]
    hurried = create_app(settings.model_copy(update={"predict_seconds": 1e-6})).test_client()
    (prediction,) = predict(hurried, batch(*tasks))
    assert "result" not in prediction
    unhurried = create_app(settings).test_client()
    assert len(predict(unhurried, batch(*tasks))) == 3


def test_a_last_task_whose_image_comes_too_late_is_asked_for_again(settings, monkeypatch):
    over = threading.Event()
    with serving(Elsewhere({"slow.png": lambda: str(over.wait(PATIENCE))}).app()) as url:
        slow = saved_task(FIRST, task=2) | {"data": {"image": f"{url}/slow.png"}}
        changes = {"allowed_image_hosts": "127.0.0.1"}
        client = create_app(settings.model_copy(update=changes)).test_client()
        predict(client, batch(saved_task(FIRST, task=1)))
        # From here on the first task is remembered, and needs none of the time.
        monkeypatch.setattr(model, "Deadline", lambda seconds: Deadline(2.0))
        (prediction,) = predict(client, batch(saved_task(FIRST, task=1), slow))
        over.set()
    assert len(prediction["result"]) == 1


def test_an_image_is_waited_for_no_longer_than_label_studio_waits(settings):
    over = threading.Event()
    with serving(Elsewhere({"slow.png": lambda: str(over.wait(PATIENCE))}).app()) as url:
        changes = {"allowed_image_hosts": "127.0.0.1", "predict_seconds": 2.0}
        client = create_app(settings.model_copy(update=changes)).test_client()
        body = clicks(FIRST)
        body["tasks"][0]["data"]["image"] = f"{url}/slow.png"
        (prediction,) = predict(client, body)
        over.set()
    assert re.search(r"longer than [012]\b", prediction["error"])


def test_clicks_that_nobody_waits_for_any_more_are_not_computed(client, app, monkeypatch):
    region(client, clicks(FIRST))
    segment, begun, over = Predictor.segment, [], threading.Event()

    def segment_late(*asked):
        begun.append(asked)
        over.wait(PATIENCE)
        return segment(*asked)

    monkeypatch.setattr(Predictor, "segment", segment_late)
    monkeypatch.setattr(model, "Deadline", lambda seconds: Deadline(1.0))
    (prediction,) = predict(client, clicks(SECOND, NEGATIVE, FIRST))
    assert "no answer within 1 s" in prediction["error"]
    over.set()
    app.extensions["icmformer"].queue.run(lambda: None, Deadline(PATIENCE))
    assert len(begun) <= 1


def test_alt_clicks_alone_say_why_nothing_comes(client, monkeypatch):
    monkeypatch.setattr(ICMFormer, "fuse", lambda *_: torch.full((1, 1, 64, 64), -9.0))
    (prediction,) = predict(client, clicks(NEGATIVE))
    assert prediction["result"] == []
    assert prediction["error"] == "there are only Alt+clicks so far: click on the object first"


def test_rectangle_of_a_label_without_a_brush_says_why_nothing_comes(client):
    body = recorded("predict_smart_rectangle")
    for item in body["params"]["context"]["result"]:
        item["value"]["rectanglelabels"] = ["Crop"]
    (prediction,) = predict(client, body)
    assert prediction["result"] == []
    assert "none of the brushes' labels, " in prediction["error"]


def test_click_on_an_image_that_is_shown_with_another_size_gives_no_mask(client):
    item = {**FIRST, "original_width": FIRST["original_width"] + 1}
    (prediction,) = predict(client, clicks(item))
    assert prediction["result"] == []
    assert "but the annotator sees" in prediction["error"]


def test_memory_that_holds_nothing_still_answers(client, settings):
    forgetful = settings.model_copy(update={"click_memory_mb": 0, "image_cache_mb": 0})
    other = create_app(forgetful).test_client()
    assert region(other, clicks(FIRST, SECOND)) == region(client, clicks(FIRST, SECOND))


def test_edited_task_starts_afresh(client, settings):
    region(client, clicks(FIRST))
    body = clicks(FIRST, SECOND)
    body["tasks"][0]["data"]["image"] = "/data/upload/2/3f790b57-105025.jpg"
    fresh = create_app(settings).test_client()
    assert region(client, body) == region(fresh, body)
