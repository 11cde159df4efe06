"""Which image a sample number means."""

import pickle
import shutil

import numpy as np
import pytest

from tests.training.shapes_recipe import a_recipe
from training.datasets.image_scores import read_image_weights
from training.datasets.object_sampling import ObjectSampling
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError
from training.loop.mixture import Mixture, Part
from training.loop.training_data import open_mixture


class Numbered:
    """Images that only have a name."""

    def __init__(self, prefix, count):
        self._names = [f"{prefix}{number}" for number in range(count)]

    def __len__(self):
        return len(self._names)

    def __getitem__(self, index):
        empty = np.zeros((1, 1, 3), np.uint8)
        return AnnotatedImage(self._names[index], empty, np.zeros((1, 1, 1), np.int16), ())


def names(mixture, count, first=0):
    return [
        mixture.draw(index, np.random.default_rng((0, index)))[0].name
        for index in range(first, first + count)
    ]


def part(prefix, count, weight=1.0, image_weights=None):
    return Part(Numbered(prefix, count), weight, ObjectSampling(), image_weights)


def test_parts_are_drawn_by_weight_and_images_alike():
    drawn = names(Mixture([part("a", 4, 3.0), part("b", 100, 1.0)], seed=0), 4000)

    shares = [sum(name == f"a{i}" for name in drawn) / 4000 for i in range(4)]
    np.testing.assert_allclose(shares, 0.75 / 4, atol=0.02)


def test_images_are_drawn_by_their_weights():
    mixture = Mixture([part("a", 3, image_weights=np.array([1.0, 0.0, 3.0]))], seed=0)

    drawn = names(mixture, 2000)

    assert "a1" not in drawn
    assert drawn.count("a2") / 2000 == pytest.approx(0.75, abs=0.03)


def test_in_turn_every_image_comes_once_an_epoch_in_another_order():
    mixture = Mixture([part("a", 10)], seed=0, epoch=10)

    first, second = names(mixture, 10), names(mixture, 10, first=10)

    assert sorted(first) == sorted(second) == [f"a{i}" for i in range(10)]
    assert first != second
    assert names(mixture, 3, first=4) == first[4:7]


def test_a_short_epoch_leaves_some_images_for_the_next():
    mixture = Mixture([part("a", 10)], seed=0, epoch=8)

    drawn = names(mixture, 8)

    assert len(set(drawn)) == 8


def test_redrawn_images_come_from_the_same_part():
    parts = [part("a", 5), part("b", 5)]
    mixture = Mixture(parts, seed=0)
    rng = np.random.default_rng(0)

    assert {mixture.redraw(parts[1], rng).name[0] for _ in range(20)} == {"b"}


def scores(folder, content):
    path = folder / "scores.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def test_scores_make_known_images_rare(tmp_path):
    path = scores(tmp_path, [(0, "a0", 0.9), (1, "a1", np.float64(0.2))])
    np.testing.assert_allclose(read_image_weights(path, 3), [0.1**1.25, 0.8**1.25, 0])


def test_scores_are_given_to_images_without_reading_them(shapes, tmp_path):
    folder = shutil.copytree(shapes, tmp_path / "photos")
    for image in sorted((folder / "images").iterdir())[1:]:
        image.write_bytes(b"half")
    path = scores(tmp_path, [(0, "0", 0.0), (3, "3", 0.5)])
    data = {"root": tmp_path, "parts": [{"path": "photos", "scores": path.name}]}

    (opened,) = open_mixture(a_recipe(shapes, tmp_path / "run", data=data)).parts

    assert opened.image_weights.tolist() == [1, 0, 0, 0.5**1.25, 0, 0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([(3, "a3", 0.9)], r"scores\.pkl gives image 3 of 3 the score 0\.9"),
        ([(0, "a0", 2.0)], r"scores\.pkl gives image 0 of 3 the score 2\.0"),
        ([(0, "a0", 1.0)], r"scores\.pkl leaves no image to draw"),
    ],
)
def test_scores_that_do_not_fit_are_refused(tmp_path, content, sentence):
    with pytest.raises(DatasetError, match=sentence):
        read_image_weights(scores(tmp_path, content), 3)


def test_scores_that_are_missing_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.pkl cannot be read"):
        read_image_weights(tmp_path / "none.pkl", 3)


@pytest.mark.parametrize("content", [5, "text", [(0,)], [(0, "a", "well")], [None]])
def test_scores_of_another_kind_are_refused(tmp_path, content):
    with pytest.raises(DatasetError, match=r"scores\.pkl is not a list of"):
        read_image_weights(scores(tmp_path, content), 3)
