import tracemalloc
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from training.datasets.accepted import AcceptedImages, AcceptedObjects, accepted_store
from training.datasets.sample import layered
from training.errors import DatasetError, StoredFileError
from training.loop.recipe import Recipe
from training.loop.training_data import open_mixture
from training.object_names import image_of
from training.store.database import Database
from training.store.object_mask import AcceptedObject, ObjectMask
from training.store.sample_files import SampleFiles
from training.store.samples import Annotation, SampleStore
from training.store.snapshot import SampleReference, Snapshot, take_snapshot
from training.store.split import HELD_OUT, TRAINING, VALIDATION, image_hash, split_of
from training.store.state_folder import StateFolder
from training.store.stored_files import StoredFiles

BOXES = [(1, 1, 6, 6), (1, 8, 6, 13), (3, 4, 9, 10)]


def box_mask(box, size=(12, 16)):
    mask = np.zeros(size, dtype=bool)
    top, left, bottom, right = box
    mask[top:bottom, left:right] = True
    return mask


def photo(number):
    return np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)


@pytest.fixture
def stored(tmp_path):
    """A store with three overlapping objects on one photo and one on another."""
    database = Database(f"sqlite:///{tmp_path}/state.db")
    files = StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")
    store = SampleStore(database, files)
    for number, boxes in ((1, BOXES), (2, BOXES[:1])):
        objects = (AcceptedObject(str(b), "Object", ObjectMask.of(box_mask(b))) for b in boxes)
        store.replace(
            Annotation(
                "2.1", number, number, datetime(2026, 1, 1, tzinfo=UTC), "accepted",
                photo(number), tuple(objects),
            )
        )  # fmt: skip
    yield take_snapshot(database, "2.1"), SampleFiles(files), tmp_path / "files"
    database.close()


def accept(folder, project, photos):
    """Accept an object on each photo, in the store that a backend would keep in the folder."""
    state = StateFolder(folder)
    database = Database(state.database)
    store = SampleStore(database, StoredFiles(state.files, state.downloads))
    for number in photos:
        box = AcceptedObject("r", "Object", ObjectMask.of(box_mask(BOXES[0])))
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        store.replace(
            Annotation(project, number, number, moment, "accepted", photo(number), (box,))
        )
    database.close()


def photos_on(side):
    return [number for number in range(40) if split_of(image_hash(photo(number))) == side]


def test_images_come_back_with_every_object_whole(stored):
    snapshot, files, _ = stored
    images = AcceptedImages(snapshot, files)
    assert len(images) == 2
    crowded = max((images[0], images[1]), key=lambda image: len(image.objects))
    assert np.array_equal(crowded.image, photo(1))
    found = {(crowded.layers[:, :, layer] == i).tobytes() for layer, i in crowded.objects}
    assert found == {box_mask(box).tobytes() for box in BOXES}


def test_a_crowded_image_is_read_without_holding_its_masks(tmp_path):
    files = SampleFiles(StoredFiles(str(tmp_path), tmp_path))
    size = 500, 600
    image = files.write_image(np.zeros((*size, 3), dtype=np.uint8))
    samples = []
    for top in range(0, 480, 8):
        mask = files.write_mask(box_mask((top, 9, top + 6, 500), size))
        samples.append(SampleReference(image, mask, TRAINING))
    images = AcceptedImages(Snapshot(tuple(samples)), files)
    tracemalloc.start()
    crowded = images[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(crowded.objects) == len(samples) == 60
    # The image, its ids, and what a mask or two take while they are looked at.
    assert peak < 20 * size[0] * size[1]


def test_objects_come_back_one_by_one(stored):
    snapshot, files, _ = stored
    objects = AcceptedObjects(snapshot, files)
    assert len(objects) == 4
    for sample in (objects[n] for n in range(4)):
        assert sample.target.dtype == np.int8
        assert sample.target.sum() in (25, 36)
        assert sample.image.shape == (12, 16, 3)


def test_the_name_of_an_object_says_which_image_it_is_on(stored):
    """Or the gate would take the many objects of one image for as many images."""
    snapshot, files, _ = stored
    objects = AcceptedObjects(snapshot, files)
    names = {objects[n].name for n in range(4)}
    assert len(names) == 4
    on = Counter(map(image_of, names))
    assert on == {image_hash(photo(1)): 3, image_hash(photo(2)): 1}


@pytest.mark.parametrize("folder", ["images", "masks"])
@pytest.mark.parametrize("damage", [b"", b"not an image", None])
def test_damaged_files_are_an_error_and_never_data(stored, folder, damage):
    snapshot, files, path = stored
    for file in (path / folder).rglob("*.png"):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
    with pytest.raises(StoredFileError):
        _ = AcceptedImages(snapshot, files)[0]


def test_another_image_under_a_known_name_is_noticed(stored):
    snapshot, files, path = stored
    first, second = sorted((path / "images").rglob("*.png"))
    first.write_bytes(second.read_bytes())
    with pytest.raises(StoredFileError, match="damaged"):
        _ = [AcceptedImages(snapshot, files)[n] for n in range(2)]


def test_masks_that_do_not_touch_share_a_plane():
    layers, objects = layered([box_mask(box) for box in BOXES])
    assert layers.shape == (12, 16, 2)
    assert objects == ((0, 1), (0, 2), (1, 1))


def test_a_store_shows_its_training_side_only(tmp_path):
    accept(tmp_path, "2.1", range(40))
    images = accepted_store(tmp_path)
    assert photos_on(VALIDATION)
    assert photos_on(HELD_OUT)
    found = {images[index].image.tobytes() for index in range(len(images))}
    assert found == {photo(number).tobytes() for number in photos_on(TRAINING)}


def test_a_store_may_be_in_a_folder_of_any_name(tmp_path):
    stores = [tmp_path / "run?1", tmp_path / "run?2", tmp_path / "50%20off::today"]
    for folder in stores:
        folder.mkdir()
        accept(folder, "2.1", photos_on(TRAINING)[:2])
        assert len(accepted_store(folder)) == 2
        assert accepted_store(folder)[0].image.shape == (12, 16, 3)
    assert sorted(tmp_path.iterdir()) == sorted(stores)


def test_a_store_may_be_asked_for_one_project(tmp_path):
    first, second, third = photos_on(TRAINING)[:3]
    accept(tmp_path, "2.1", [first, second])
    accept(tmp_path, "21.7", [second, third])
    assert [len(accepted_store(tmp_path, number)) for number in (2, 21, None)] == [2, 2, 3]
    assert all(len(accepted_store(tmp_path)[index].objects) == 1 for index in range(3))


def test_a_store_that_is_missing_or_empty_is_a_sentence(tmp_path):
    with pytest.raises(DatasetError, match=r"no sample store .* MODEL_DIR"):
        accepted_store(tmp_path)
    assert not list(tmp_path.iterdir())
    Database(f"sqlite:///{tmp_path}/state.db").close()
    with pytest.raises(DatasetError, match="no project has an accepted mask"):
        accepted_store(tmp_path)
    accept(tmp_path, "2.1", photos_on(TRAINING)[:1])
    with pytest.raises(DatasetError, match="project 3 has no accepted mask"):
        accepted_store(tmp_path, 3)


def test_a_recipe_trains_on_a_store_and_notices_what_is_new_in_it(tmp_path):
    known, new = photos_on(TRAINING)[:2]
    (tmp_path / "state").mkdir()
    accept(tmp_path / "state", "2.1", [known])
    part = {"kind": "accepted", "path": "state", "project": 2}
    data = {"root": tmp_path, "cache": tmp_path / "cache", "parts": [part]}
    recipe = Recipe.model_validate(
        {
            "run": tmp_path / "run",
            "network": {"name": "tiny"},
            "data": data,
            "sampling": {"augmentation": {"kind": "object_crop"}},
            "epoch": 2,
            "stages": [{"epochs": 1, "size": 32, "batch_size": 2}],
        }
    )
    for expected in (1, 2):
        (opened,) = open_mixture(recipe).parts
        assert len(opened.dataset) == expected
        assert np.array_equal(opened.dataset[0].image, photo(known)) or expected == 2
        accept(tmp_path / "state", "2.1", [new])
