"""Samples are functions of their number, and batches cover every sample once."""

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from training.clicks.initial_clicks import EMPTY, NEGATIVE, POSITIVE, ClickSampling
from training.datasets.accepted import AcceptedImages
from training.datasets.image_folder import ImageFolder
from training.datasets.object_sampling import ObjectSampling, with_area
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError, StoredFileError
from training.loop import sample_stream
from training.loop.augmentation import Colour, ObjectCrop, ScaleAndCrop
from training.loop.mixture import Mixture, Part
from training.loop.sample_stream import BatchPlan, SampleStream, Sampling, collate, sound
from training.store.sample_files import SampleFiles
from training.store.snapshot import SampleReference, Snapshot
from training.store.split import TRAINING
from training.store.stored_files import StoredFiles


def stream(dataset, **sampling) -> SampleStream:
    options = Sampling(**{"augmentation": ObjectCrop(), "min_object_area": 20} | sampling)
    return SampleStream(Mixture([Part(dataset, 1, ObjectSampling())], 0), options, seed=0)


@pytest.mark.parametrize("augmentation", [ObjectCrop(), ScaleAndCrop()], ids=["object", "paper"])
def test_a_sample_depends_on_its_number_alone(shapes, augmentation):
    first, second = (stream(ImageFolder(shapes), augmentation=augmentation) for _ in range(2))
    expected = [first[index, 64] for index in range(6)]

    for index in reversed(range(6)):
        for found, wanted in zip(second[index, 64], expected[index], strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
def test_workers_yield_the_same_batches(shapes):
    dataset = stream(ImageFolder(shapes))
    plan = BatchPlan(((8, 32, 4), (16, 64, 2)), start=0)

    here = list(DataLoader(dataset, batch_sampler=plan, collate_fn=collate))
    there = list(DataLoader(dataset, batch_sampler=plan, collate_fn=collate, num_workers=2))

    assert [len(batch.indices) for batch in here] == [4, 4, 2, 2, 2, 2]
    assert [batch.images.shape[-1] for batch in here] == [32, 32, 64, 64, 64, 64]
    for mine, theirs in zip(here, there, strict=True):
        torch.testing.assert_close(mine.images, theirs.images)
        torch.testing.assert_close(mine.labels, theirs.labels)
        torch.testing.assert_close(mine.slots, theirs.slots)


def test_clicks_lie_where_the_labels_say(shapes):
    dataset = stream(ImageFolder(shapes))
    for index in range(50):
        _, _, labels, slots = dataset[index, 64]
        for sign, wanted in ((0, 1), (1, 0)):
            places = slots[sign][slots[sign, :, 0] != EMPTY]
            assert (labels[tuple(places.T)] == wanted).all()
        assert (labels == 1).sum() >= 20


class Bare:
    """One image without any object."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        planes = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40, 1), np.int16)
        return AnnotatedImage("bare", *planes, ())


def test_a_view_without_objects_is_kept_now_and_then():
    dataset = stream(Bare(), keep_empty=1.0, augmentation=ScaleAndCrop())

    _, _, labels, slots = dataset[0, 32]

    assert not labels.any()
    assert (slots[POSITIVE] == EMPTY).all()


def test_a_view_anywhere_that_shows_small_objects_alone_is_one_without_objects():
    layers = np.zeros((40, 40, 1), np.int32)
    layers[18:21, 18:21] = 1
    speck = AnnotatedImage("speck", np.zeros((40, 40, 3), np.uint8), layers, ((0, 1),))
    dataset = stream([speck], keep_empty=0.0, augmentation=ScaleAndCrop())
    assert not any((dataset[index, 32][2] == 1).any() for index in range(5))


def test_views_without_objects_are_tried_again(shapes):
    class BareAndBusy:
        """Nine images in ten are empty."""

        busy = ImageFolder(shapes)

        def __len__(self):
            return 10

        def __getitem__(self, index):
            return self.busy[index] if index == 3 else Bare()[0]

    dataset = stream(BareAndBusy(), keep_empty=0.0)

    assert all((dataset[index, 64][2] == 1).any() for index in range(5))


def test_images_that_never_show_an_object_end_in_a_sentence(monkeypatch):
    monkeypatch.setattr(sample_stream, "_IMAGES_PER_SAMPLE", 5)
    dataset = stream(Bare(), keep_empty=0.0)

    with pytest.raises(DatasetError, match=r"'bare', shows an object of 20 pixels"):
        _ = dataset[0, 32]


@pytest.mark.parametrize("augmentation", [ObjectCrop(), ScaleAndCrop(jitter=1, scale=(1, 1))])
def test_an_image_too_long_to_be_turned_is_named(augmentation):
    def strip(length):
        ids = np.ones((1, length, 1), np.int16)
        image = np.zeros((1, length, 3), np.uint8)
        return stream([AnnotatedImage("strip", image, ids, ((0, 1),))], augmentation=augmentation)

    assert strip(32766)[0, 32]
    with pytest.raises(DatasetError, match=r"'strip' has a side .* 32766 .* set data\.max_side"):
        _ = strip(32767)[0, 32]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_of_what_was_accepted_is_told_as_such(tmp_path, workers):
    files = SampleFiles(StoredFiles(str(tmp_path), tmp_path))
    image = files.write_image(np.zeros((40, 40, 3), np.uint8))
    mask = files.write_mask(np.ones((40, 40), bool))
    reference = SampleReference(image, mask, TRAINING)
    for file in (tmp_path / "masks").rglob("*.png"):
        file.write_bytes(b"")
    dataset = stream(AcceptedImages(Snapshot((reference,)), files))
    plan = BatchPlan(((4, 32, 4),), start=0)

    loader = DataLoader(dataset, batch_sampler=plan, collate_fn=collate, num_workers=workers)

    with pytest.raises(StoredFileError) as raised:
        list(sound(loader))
    assert "Traceback" not in str(raised.value)


def test_the_processes_share_each_batch_and_together_see_all_of_it():
    stages = ((24, 32, 12),)
    whole = list(BatchPlan(stages, 0))
    pieces = [list(BatchPlan(stages, 0, rank, 3, accumulate=2)) for rank in range(3)]

    assert [len(batch) for batch in pieces[0]] == [2] * 4
    for number, batch in enumerate(whole):
        shared = [
            key for rank in pieces for piece in rank[2 * number : 2 * number + 2] for key in piece
        ]
        assert sorted(shared) == batch


def test_negative_clicks_on_other_objects_do_not_vanish_where_none_is_in_view():
    layers = np.zeros((400, 400, 1), np.int32)
    layers[20:80, 20:80, 0], layers[320:380, 320:380, 0] = 1, 2
    far_apart = AnnotatedImage("far", np.zeros((400, 400, 3), np.uint8), layers, ((0, 1), (0, 2)))
    clicks = ClickSampling(background=0, other=1, border=0)
    dataset = stream([far_apart], augmentation=ObjectCrop(whole=0), clicks=clicks)

    negative = [(dataset[index, 64][3][NEGATIVE, :, 0] != EMPTY).any() for index in range(40)]

    assert sum(negative) > 10


@pytest.fixture
def pair():
    """Two bright objects beside each other, of which one is asked for at a time."""
    layers = np.zeros((60, 60, 1), np.int32)
    layers[5:55, 5:25, 0], layers[5:55, 35:55, 0] = 1, 2
    image = np.repeat(255 * (layers > 0), 3, axis=2).astype(np.uint8)
    shown = AnnotatedImage("pair", image, layers, ((0, 1), (0, 2)))
    alone = Part([shown], 1, ObjectSampling(merge_probability=0))
    clicks = ClickSampling(background=0, other=1, border=0)
    view = ObjectCrop(whole=1, colour=Colour(probability=0))
    options = Sampling(augmentation=view, clicks=clicks, min_object_area=20)
    return SampleStream(Mixture([alone], 0), options, seed=0)


def test_a_view_around_an_object_asks_for_no_other_one_that_it_shows(pair):
    asked = [(pair[index, 64][2] == 1).astype(np.uint8) for index in range(20)]
    assert [cv2.connectedComponents(labels)[0] - 1 for labels in asked] == [1] * 20


def test_negative_clicks_on_other_objects_lie_on_them_where_they_are_in_view(pair):
    clicked = 0
    for index in range(20):
        _, image, _, slots = pair[index, 64]
        places = slots[NEGATIVE][slots[NEGATIVE, :, 0] != EMPTY]
        assert (image[tuple(places.T)] > 100).all()
        clicked += len(places)
    assert clicked > 10


def test_a_plan_goes_on_in_the_middle_of_a_stage():
    stages = ((8, 32, 4), (12, 64, 2))

    assert list(BatchPlan(stages, 10)) == [[(10, 64), (11, 64)]]
    assert list(BatchPlan(stages, 4)) == list(BatchPlan(stages, 0))[1:]
    assert list(BatchPlan(stages, 12)) == []


def test_small_objects_are_not_asked_for():
    layers = np.zeros((10, 10, 2), np.int32)
    layers[:5, :, 0], layers[0, 0, 1], layers[5:, :, 1] = 3, 4, 100_000

    kept = with_area(layers, ((0, 3), (1, 4), (1, 100_000)), least=20)

    assert kept == ((0, 3), (1, 100_000))
