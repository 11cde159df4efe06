"""What fine-tuning does to answers on images that it is not about."""

import numpy as np
import pytest
import torch

from icmformer import Click, Predictor, load_checkpoint
from icmformer.specialised import specialist_of
from tests.training.quick_fine_tuning import DATA, Discs, changed, learned, run, weights
from training.datasets.sample import AnnotatedImage
from training.fine_tuning.fine_tune import FineTuneData


def answers(path, images):
    """Probabilities after a click on the first object of each image, in a single look."""
    predictor = Predictor.for_benchmark(load_checkpoint(path))
    return np.stack(
        [predictor.segment(images[i].image, [Click(22, 32, True)]).probability for i in range(3)]
    )


def test_on_other_images_answers_stay_what_they_were(base, tmp_path):
    """Learning moves the answers elsewhere, too, unless it is told to keep them."""
    wanted = (
        "steps=80",
        "validate_every=80",
        "optimization.learning_rate=1e-3",
        "specialise=false",
    )
    before = answers(base, DATA.replay)
    moved = {}
    for weight in ("0", "20"):
        candidate = run(base, tmp_path / weight, *wanted, f"replay_weight={weight}")
        moved[weight] = np.abs(answers(candidate, DATA.replay) - before).mean()
    assert moved["20"] < 0.7 * moved["0"]


def masks(network, images):
    predictor = Predictor.for_benchmark(network)
    return [
        predictor.segment(images[i].image, [Click(22, 32, True)]).probability
        for i in range(len(images))
    ]


def same_masks(one, other, images):
    return all(map(np.array_equal, masks(one, images), masks(other, images)))


def apart(one, other, images):
    pairs = zip(masks(one, images), masks(other, images), strict=True)
    return sum(float(np.abs(a - b).mean()) for a, b in pairs)


class Grey:
    """Photos of something else: dark shapes on a bright ground."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        shown = Discs(4, first=70)[index]
        return AnnotatedImage(shown.name, 255 - shown.image, shown.layers, shown.objects)


def test_on_images_unlike_the_accepted_ones_nothing_changes(base, tmp_path):
    data = learned(Discs(6), Grey())
    version = load_checkpoint(run(base, tmp_path / "job", data=data))
    first, fresh = load_checkpoint(base), Discs(3, first=200)
    assert same_masks(version, first, Grey())
    assert same_masks(version, specialist_of(version), fresh)
    assert not same_masks(version, first, fresh)


def test_what_was_fine_tuned_is_fine_tuned_further_beside_the_same_first_network(base, tmp_path):
    once = run(base, tmp_path / "once", data=learned(Discs(6), Grey()))
    twice = run(once, tmp_path / "twice", "steps=2", data=learned(Discs(8), Grey()))
    before, after = weights(once), weights(twice)
    assert before.keys() == after.keys()
    moved = changed(once, twice)
    assert not [name for name in moved if name.startswith("generalist.")]
    assert any(name.startswith("head.") for name in moved)
    assert (len(before["familiar"]), len(after["familiar"])) == (6, 8)
    first = weights(base)
    assert all(torch.equal(first[name], after[f"generalist.{name}"]) for name in first)


@pytest.mark.parametrize("share", [1, 0.1])
def test_what_was_fine_tuned_is_where_it_goes_on_from(base, tmp_path, share):
    """And not the first network of its line, or every job would forget those before it."""
    data, wanted = learned(Discs(6), Grey()), ("steps=2", f"weight_interpolation={share}")
    once = run(base, tmp_path / "once", "optimization.learning_rate=1e-2", data=data)
    barely = "optimization.learning_rate=1e-9"
    twice = run(once, tmp_path / "twice", barely, *wanted, data=data, first=base)
    before, after, first = (weights(path) for path in (once, twice, base))
    for name in first:
        torch.testing.assert_close(after[name], before[name])
    assert any((before[name] - first[name]).abs().max() > 0.01 for name in first)


def test_what_was_learned_by_one_network_alone_is_not_known_elsewhere_later(base, tmp_path):
    alone = run(base, tmp_path / "alone", "steps=2", "specialise=false")
    data = FineTuneData(Discs(2), Discs(5), Grey(), None)
    after = weights(run(alone, tmp_path / "beside", "steps=2", data=data, first=base))
    first = weights(base)
    assert all(torch.equal(first[name], after[f"generalist.{name}"]) for name in first)
    assert len(after["familiar"]) == 5, "more images than were trained on"


def test_other_images_are_to_be_answered_as_the_first_network_did(base, tmp_path):
    """And not as the one that training starts from, or little losses would add up."""
    often = ("steps=8", "replay_weight=50", "optimization.learning_rate=2e-3", "specialise=false")
    start = run(base, tmp_path / "start", "steps=4", "replay=0", *often[2:])
    data = learned(Discs(6), Grey())
    like_first, like_start = (
        load_checkpoint(run(start, tmp_path / first.stem, *often, data=data, first=first))
        for first in (base, start)
    )
    first = load_checkpoint(base)
    assert apart(like_first, first, Grey()) < apart(like_start, first, Grey())


@pytest.mark.parametrize(
    ("data", "override"),
    [
        (learned(Discs(4)), "specialise=true"),
        (learned(Discs(4), Grey()), "specialise=false"),
    ],
)
def test_without_other_images_or_on_request_one_network_answers_everywhere(
    base, tmp_path, data, override
):
    candidate = run(base, tmp_path / "job", "steps=2", override, data=data)
    assert weights(candidate).keys() == weights(base).keys()


def test_what_is_replayed_is_shown_in_views_of_its_own(base, tmp_path):
    others_pasted_in = "replay_sampling.copy_paste.probability=1"
    with_replay = [
        run(base, tmp_path / "never", "replay_sampling.copy_paste.probability=0"),
        run(base, tmp_path / "always", others_pasted_in),
    ]
    assert changed(*with_replay)
    data = learned(DATA.accepted, None, DATA.validation)
    without = [
        run(base, tmp_path / "none", data=data),
        run(base, tmp_path / "none, always", others_pasted_in, data=data),
    ]
    assert not changed(*without)
