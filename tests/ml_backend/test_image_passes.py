"""How often a request makes the network look at the image itself, which takes most of the time."""

from functools import partial

import pytest
import torch

from icmformer import ICMFormer, Predictor
from icmformer.checkpoint import load_checkpoint, save_checkpoint
from icmformer.specialised import Specialised
from ml_backend.app import create_app
from ml_backend.learning.assembly import open_learning
from tests.ml_backend.label_studio_requests import clicks, keypoint, predict, recorded
from tests.specialised_network import specialised_network
from training.store.live_pointer import SITE, Mover, promote
from training.store.model_versions import Candidate

OBJECTS = [
    clicks(keypoint(x, y, id=id)) for x, y, id in ((61, 55, "a"), (31, 69, "b"), (78, 31, "c"))
]

(DRAWN,) = recorded("predict_smart_rectangle")["params"]["context"]["result"]
RECTANGLE = clicks({**DRAWN, "original_width": 481, "original_height": 321})


@pytest.fixture(params=["plain", "specialised"])
def settings(request, settings, tmp_path):
    """With a network of the kind."""
    if request.param == "plain":
        return settings
    path = tmp_path / "specialised.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(7)
        save_checkpoint(specialised_network(load_checkpoint(settings.checkpoint)), path)
    return settings.model_copy(update={"checkpoint": path})


@pytest.fixture
def passes_of(monkeypatch):
    """Answer a request; gives what was answered, and how many crops were encoded for it."""
    encoded = []
    encode = ICMFormer.encode_image
    monkeypatch.setattr(
        ICMFormer, "encode_image", lambda self, crop: encoded.append(crop) or encode(self, crop)
    )

    def answered(client, body):
        encoded.clear()
        (prediction,) = predict(client, body)
        (region,) = prediction["result"]
        return region, len(encoded)

    return answered


def fresh(settings):
    return create_app(settings).test_client()


def test_the_next_object_on_an_image_does_not_encode_all_of_it_again(client, settings, passes_of):
    first, second, _ = OBJECTS
    passes_of(client, first)
    here, passes = passes_of(client, second)
    alone, passes_alone = passes_of(fresh(settings), second)
    assert here == alone
    assert passes < passes_alone


def test_nor_does_the_one_after_next_once_the_version_was_loaded_again(
    client, app, settings, passes_of
):
    first, second, third = OBJECTS
    other = fresh(settings)
    passes_of(other, second)
    _, expected = passes_of(other, third)
    passes_of(client, first)
    app.extensions["icmformer"].models.drop_all()
    passes_of(client, second)
    _, passes = passes_of(client, third)
    assert passes == expected


def test_rectangles_and_clicks_start_from_one_look_at_the_image(settings, passes_of, monkeypatch):
    asked, knows = [], Specialised.knows
    monkeypatch.setattr(Specialised, "knows", lambda *seen: asked.append(seen) or knows(*seen))
    client, other = fresh(settings), fresh(settings)
    first, passes_of_first = passes_of(client, RECTANGLE)
    again, passes_of_again = passes_of(client, RECTANGLE)
    assert again == first
    assert passes_of_again < passes_of_first
    _, passes_of_click = passes_of(client, OBJECTS[1])
    assert len(asked) <= 1
    passes_of(other, OBJECTS[0])
    assert passes_of(other, OBJECTS[1])[1] == passes_of_click
    assert passes_of(other, RECTANGLE) == (first, passes_of_again)


@pytest.mark.parametrize("owner", ["2.1795327560", "3.1795327560"])
def test_a_version_looks_for_the_sizes_it_learned_on_all_images_of_its_own_project(
    settings, tmp_path, monkeypatch, owner
):
    """The image is unlike those that it learned."""
    path, looked_at = tmp_path / "learned.safetensors", []
    version = specialised_network(familiar=1e6, unfamiliar=0.0)
    version.object_side.fill_(12)
    save_checkpoint(version, path)
    with open_learning(settings) as learning:
        number = learning.stores.versions.publish(Candidate("a job", path, project=owner))
        mover = Mover("ann", "a test")
        learning.stores.versions.move(partial(promote, project=owner, version=number, mover=mover))
        learning.stores.versions.move(partial(promote, project=SITE, version=number, mover=mover))
    answer = Predictor._answer
    monkeypatch.setattr(
        Predictor, "_answer", lambda *seen: looked_at.append(seen[3]) or answer(*seen)
    )

    (prediction,) = predict(fresh(settings), clicks(keypoint(50, 50, id="a")))

    assert prediction["model_version"].startswith(f"v{number}-")
    begins_with_all = max(looked_at[0].size_hw) == 481
    assert begins_with_all is (owner != "2.1795327560")
