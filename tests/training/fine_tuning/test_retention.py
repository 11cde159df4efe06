import shutil

import numpy as np
import pytest
from PIL import Image

from training.errors import DatasetError
from training.fine_tuning.retention import PACKAGED, RetentionSet


def _names(images):
    return {images[index].name for index in range(len(images))}


def test_the_packaged_set_judges_by_other_photos_than_it_replays():
    packaged = RetentionSet(PACKAGED)
    replay, judged = packaged.replay(), packaged.judged(100)
    judged_images = {judged[index].name.rsplit("#")[0] for index in range(len(judged))}
    assert len(replay) >= 30
    assert len(judged) >= 20
    assert len(judged_images) >= 10
    assert not _names(replay) & judged_images


def test_every_packaged_image_has_its_terms():
    terms = (PACKAGED / "LICENSES.md").read_text()
    images = sorted(path.name for path in PACKAGED.glob("*/images/*"))
    masks = sorted(path.stem for path in PACKAGED.glob("*/masks/*"))
    assert [name.removesuffix(".jpg") for name in images] == masks
    assert [name for name in images if f"`{name}`" not in terms] == []


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(
            tmp_path / "images" / f"{number}.png"
        )
        mask = np.zeros((20, 20), dtype=np.uint8)
        mask[5:15, 5:10], mask[5:15, 12:18] = 1, 2
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    return tmp_path


def test_an_image_is_on_one_side_and_stays_there_when_others_come(folder):
    replayed = _names(RetentionSet(folder).replay())
    assert replayed == {"0", "2", "3", "5", "7", "10", "11"}, "in every release"
    for kind in ("images", "masks"):
        (folder / kind / "0.png").unlink()
    assert _names(RetentionSet(folder).replay()) == replayed - {"0"}


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("pixel", [(0, 0), (5, 5)], ids=["background", "object"])
def test_its_fingerprint_is_that_of_images_and_masks(folder, kind, pixel):
    before = RetentionSet(folder).fingerprint
    assert RetentionSet(folder).fingerprint == before
    shown = np.array(Image.open(folder / kind / "3.png"))
    shown[pixel] = 2
    Image.fromarray(shown).save(folder / kind / "3.png")
    assert RetentionSet(folder).fingerprint != before


def test_judges_by_no_more_objects_than_asked_for_spread_over_the_images(folder):
    judged = RetentionSet(folder).judged(3)
    assert len(judged) == 3
    assert len({judged[index].name for index in range(3)}) == 3


@pytest.mark.parametrize("lacking", ["images on its side", "objects"])
def test_a_half_without_objects_judges_nothing(folder, lacking):
    replayed = _names(RetentionSet(folder).replay())
    for number in {str(number) for number in range(12)} - replayed:
        if lacking == "objects":
            Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(
                folder / "masks" / f"{number}.png"
            )
        else:
            for kind in ("images", "masks"):
                (folder / kind / f"{number}.png").unlink()
    assert RetentionSet(folder).judged(100) is None


def test_a_set_without_an_image_to_replay_replays_nothing(folder):
    for name in _names(RetentionSet(folder).replay()):
        for kind in ("images", "masks"):
            (folder / kind / f"{name}.png").unlink()
    assert RetentionSet(folder).replay() is None


@pytest.mark.parametrize(("side", "missing"), [("replayed", "judged"), ("judged", "replayed")])
def test_what_is_replayed_or_judged_alone_is_not_cut(folder, tmp_path, side, missing):
    for kind in ("images", "masks"):
        shutil.copytree(folder / kind, tmp_path / "half" / side / kind)
    with pytest.raises(DatasetError, match=missing):
        RetentionSet(tmp_path / "half")


def test_a_set_that_says_what_is_replayed_is_not_cut(folder, tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "two" / "judged" / kind).mkdir(parents=True)
        shutil.copytree(folder / kind, tmp_path / "two" / "replayed" / kind)
    for kind in ("images", "masks"):
        for number in (4, 5):
            name = f"{kind}/{number}.png"
            (tmp_path / "two" / "replayed" / name).rename(tmp_path / "two" / "judged" / name)
    two = RetentionSet(tmp_path / "two")
    assert _names(two.replay()) == {str(number) for number in range(12)} - {"4", "5"}
    assert {name.split("#")[0] for name in _names(two.judged(100))} == {"4", "5"}

    for kind in ("images", "masks"):
        name = f"{kind}/4.png"
        (tmp_path / "two" / "judged" / name).rename(tmp_path / "two" / "replayed" / name)
    assert RetentionSet(tmp_path / "two").fingerprint != two.fingerprint


def test_its_fingerprint_says_which_images_judge(folder, tmp_path):
    """Or scores would be read that were kept of other objects."""

    def fingerprint(name, replayed, judged):
        for side, numbers in (("replayed", replayed), ("judged", judged)):
            for kind in ("images", "masks"):
                (tmp_path / name / side / kind).mkdir(parents=True)
                for number in numbers:
                    file = f"{kind}/{number}.png"
                    shutil.copy(folder / file, tmp_path / name / side / file)
        return RetentionSet(tmp_path / name).fingerprint

    assert fingerprint("early", (0, 1), (2, 3, 4)) != fingerprint("late", (0, 1, 2), (3, 4))


def test_an_image_that_is_replayed_cannot_judge(folder, tmp_path):
    for side in ("replayed", "judged"):
        for kind in ("images", "masks"):
            shutil.copytree(folder / kind, tmp_path / "two" / side / kind)
    for kind in ("images", "masks"):
        for number in range(12):
            name = tmp_path / "two" / "judged" / kind / f"{number}.png"
            if number == 3:
                name.rename(name.with_stem("renamed"))
            else:
                name.unlink()
    with pytest.raises(DatasetError, match=r"two: the image renamed of judged/ is in replayed/"):
        RetentionSet(tmp_path / "two")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        RetentionSet(tmp_path / "nowhere")
