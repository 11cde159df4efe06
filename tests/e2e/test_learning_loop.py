"""The loop, closed: accepted masks make the next click better, and nobody restarts anything."""

import numpy as np
import pytest
import requests
from PIL import Image

from ml_backend.demo import project as demo
from ml_backend.label_studio.labeling_config import parse
from ml_backend.label_studio.regions import brush_region
from ml_backend.local_servers import backend_server
from tests.e2e.conftest import ARTEFACTS
from tests.e2e.expected_masks import mask_of
from tests.training.disc_project import disc
from tests.waiting import PATIENCE, wait_until
from training.evaluation.noc import iou

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

DISCS = 30
SIZE = (192, 240)
CONFIG = parse(demo.LABELING_CONFIG)
# The tiny network of the tests learns discs in a minute; a large one would need none of this. Being
# untrained, it has no answers on other photos that would be worth keeping.
RECIPE = """
steps: 240
replay: 0
batch_size: 8
validate_every: 60
validation_objects: 4
validation_clicks: 2
optimization: {learning_rate: 2.0e-3}
"""


def big_disc(seed):
    """The disc of the tests, large enough to be clicked in a browser."""
    image, mask = disc(seed)
    width_height = (SIZE[1], SIZE[0])
    return (
        np.array(Image.fromarray(image).resize(width_height, Image.Resampling.NEAREST)),
        np.array(Image.fromarray(mask).resize(width_height, Image.Resampling.NEAREST)),
    )


def save_disc(folder, seed):
    path = folder / f"disc-{seed:02}.png"
    Image.fromarray(big_disc(seed)[0]).save(path)
    return path


@pytest.fixture(scope="module")
def loop(start_backend, label_studio, tmp_path_factory):
    """A backend and its worker with the same settings and state."""
    folder = tmp_path_factory.mktemp("loop")
    (folder / "recipe.yaml").write_text(RECIPE)
    for seed, side in ((505, "replayed"), (506, "judged"), (507, "judged")):
        image, mask = big_disc(seed)
        photo = 255 - image  # of another kind than the project's
        for kind, pixels in (("images", photo), ("masks", mask.astype(np.uint8))):
            (folder / "retention" / side / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "retention" / side / kind / f"{seed}.png")
    settings = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.login.token,
        "ICMFORMER_FINE_TUNE_RECIPE": str(folder / "recipe.yaml"),
        "ICMFORMER_FINE_TUNE_AFTER": "0",
        "ICMFORMER_RETENTION_SET": str(folder / "retention"),
        "ICMFORMER_GATE_MIN_OBJECTS": "3",
        "ICMFORMER_GATE_MIN_IMAGES": "2",
        "ICMFORMER_RECONCILE_MINUTES": "0",
    }
    backend = start_backend(**settings)
    worker = backend_server.start_worker(
        backend.data, ARTEFACTS / "worker.log", {**settings, **backend.settings}
    )
    yield backend
    worker.stop()


def ask(backend, path):
    answer = requests.get(f"{backend.url}/api{path}", timeout=PATIENCE)
    answer.raise_for_status()
    return answer.json()


def samples(backend, project):
    return ask(backend, f"/projects/{project}")["samples"]["total"]


def accept(api, task, seed):
    """Save the true mask of a disc, as the editor saves an accepted suggestion."""
    region = brush_region(big_disc(seed)[1], "Object", CONFIG, f"region{seed:04}", 0.9)
    api.post(f"/api/tasks/{task}/annotations/", {"result": [{**region, "origin": "manual"}]})


def served_versions(backend):
    """The versions that answered clicks, in order, as the log says."""
    lines = [line for line in backend.log.read_text().splitlines() if "mask task=" in line]
    return [line.split("version=")[1].split()[0] for line in lines]


def test_accepted_masks_make_the_next_click_better(loop, new_project, label_studio, page, tmp_path):
    api = label_studio.api
    project = new_project(loop, *(save_disc(tmp_path, seed) for seed in range(DISCS)))
    tasks = demo.task_ids(api, project)
    for seed, task in enumerate(tasks):
        accept(api, task, seed)
    wait_until(lambda: samples(loop, project) == DISCS, every=0.5)
    base = ask(loop, f"/projects/{project}")["live"]
    assert (base["version"], base["own"]) == (1, False)

    (connected,) = api.get("/api/ml/", project=project)
    api.post(f"/api/ml/{connected['id']}/train", {})
    wait_until(lambda: ask(loop, f"/projects/{project}")["jobs"], every=0.5)

    def ended():
        (job,) = ask(loop, f"/projects/{project}")["jobs"]
        return job["state"] not in ("waiting", "running")

    wait_until(ended, every=0.5)
    facts = ask(loop, f"/projects/{project}")
    (job,) = facts["jobs"]
    assert (job["state"], job["result"]) == ("finished", "promoted"), job["message"]
    assert job["reasons"] == ["Start training in Label Studio"]
    assert facts["live"]["version"] == job["version"] == 2
    for name, path in (("project", ""), ("version", "/versions/2")):
        page.page.goto(f"{loop.url}/projects/{project}{path}")
        page.page.screenshot(path=ARTEFACTS / f"learning-{name}.png", full_page=True)

    # The next click on an image that nobody has seen.
    demo.import_images(api, project, [save_disc(tmp_path, 77)])
    task = max(demo.task_ids(api, project))
    page.open(project, task)
    page.turn_on_auto_annotation()
    truth = big_disc(77)[1]
    rows, columns = np.nonzero(truth)
    where = (columns.mean() + 0.5) / SIZE[1], (rows.mean() + 0.5) / SIZE[0]
    page.choose("Object")
    answer = page.click(*where)
    page.wait_for_suggestion()
    page.keep_picture(ARTEFACTS / "after-fine-tuning.png")
    assert iou(truth.astype(np.int8), mask_of(answer.regions[0])) > 0.85
    assert served_versions(loop)[-1] == facts["live"]["name"]
    page.accept()
    page.submit()
    wait_until(lambda: samples(loop, project) == DISCS + 1, every=0.5)

    # Back in the running process.
    body = {"move": "rollback", "reason": "to see whether it can be done"}
    requests.post(f"{loop.url}/api/projects/{project}/live", json=body, timeout=PATIENCE)
    moved = f"version={base['name']} before={facts['live']['name']}"
    wait_until(lambda: moved in loop.log.read_text())
    demo.import_images(api, project, [save_disc(tmp_path, 78)])
    page.open(project, max(demo.task_ids(api, project)))  # the browser remembers tool and switch
    page.choose("Object")
    page.click(0.5, 0.5)
    assert served_versions(loop)[-1] == base["name"]
