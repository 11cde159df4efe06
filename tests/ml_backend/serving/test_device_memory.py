"""A GPU or a machine that is full: another attempt without memories, else a sentence, no trace."""

import numpy as np
import pytest
import torch

from icmformer import Predictor, load_checkpoint
from ml_backend.errors import DeviceMemoryError
from ml_backend.serving.loaded_model import LoadedModel
from tests.ml_backend.label_studio_requests import batch, clicks, keypoint, mask_of, saved_task

BODY = clicks(keypoint(61.4, 54.7, id="a"), keypoint(31.1, 68.9, id="b"))


class CrowdedGPU:
    """A network whose device has no memory left for some of its passes, counted from the first."""

    def __init__(self, network, full_at):
        self._network = network
        self._full_at = full_at
        self.passes = 0

    def __getattr__(self, name):
        return getattr(self._network, name)

    def fuse(self, *arguments):
        self.passes += 1
        if self.passes in self._full_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self._network.fuse(*arguments)


@pytest.fixture
def crowd(app, checkpoint):
    def replace_network(*full_at):
        network = CrowdedGPU(load_checkpoint(checkpoint), full_at)
        backend = app.extensions["icmformer"]
        version = backend.pointer.live("")
        backend.models._keep(LoadedModel(version, Predictor(network), Predictor(network), 1))
        return network

    return replace_network


def test_a_pass_that_does_not_fit_is_tried_again(app, client, crowd):
    expected = client.post("/predict", json=BODY).json["results"]
    app.extensions["icmformer"].sessions.clear()
    network = crowd(2)
    answer = client.post("/predict", json=BODY)
    assert network.passes > 2
    assert (mask_of(answer.json["results"][0]["result"][0])).any()
    assert answer.json["results"] == expected


def test_a_full_gpu_answers_503_with_a_sentence_and_recovers(client, crowd, caplog):
    crowd(1, 2)
    refused = client.post("/predict", json=BODY)
    assert refused.status_code == 503
    assert refused.json["error"].startswith("the GPU has too little memory")
    assert "Traceback" not in caplog.text
    assert client.post("/predict", json=BODY).status_code == 200


def test_a_version_that_does_not_fit_leaves_its_tasks_without_a_mask_and_says_so(app, client):
    def does_not_fit(version):
        raise DeviceMemoryError("the GPU has too little memory")

    app.extensions["icmformer"].models._load = does_not_fit
    answer = client.post("/predict", json=BODY)
    (prediction,) = answer.json["results"]
    assert (answer.status_code, prediction["result"]) == (200, [])
    assert "cannot be loaded: the GPU has too little memory" in prediction["error"]


@pytest.mark.parametrize("take", [torch.empty, np.empty], ids=["torch", "numpy"])
def test_an_image_that_the_machine_has_no_memory_for_is_a_sentence(app, client, caplog, take):
    app.extensions["icmformer"].images.load = lambda *_, **__: take(10**15)
    (prediction,) = client.post("/predict", json=BODY).json["results"]
    assert prediction["result"] == []
    assert prediction["error"].startswith("this machine has too little memory: ")
    assert "ICMFORMER_MAX_IMAGE_MEGAPIXELS" in prediction["error"]
    assert "Traceback" not in caplog.text


def test_masks_of_a_batch_that_were_ready_are_not_lost(app, client, crowd):
    tasks = [saved_task(keypoint(50, 50), task=task) for task in range(3)]
    whole = crowd()
    client.post("/predict", json=batch(tasks[0]))
    app.extensions["icmformer"].sessions.clear()
    third = 2 * whole.passes + 1
    crowd(third, third + 1)

    (first,) = client.post("/predict", json=batch(*tasks)).json["results"]
    assert first["result"], "of a single entry Label Studio asks for the tasks one by one"
