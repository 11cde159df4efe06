"""Many annotators at once: everybody gets the answer of their own clicks, in whatever order."""

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml_backend.app import create_app
from ml_backend.deadline import Deadline
from tests.ml_backend.label_studio_requests import (
    batch,
    clicks,
    keypoint,
    predict,
    recorded,
    saved_task,
)
from tests.waiting import PATIENCE, wait_until

POINTS = [(61, 54), (31, 69), (78, 31), (20, 20), (45, 80)]


def conversation(task):
    """The requests of one annotator on one object, each with one click more."""
    made = [
        keypoint(x + task % 7, y, id=f"{task}-{number}", positive=number % 3 != 2)
        for number, (x, y) in enumerate(POINTS)
    ]
    return [clicks(*made[: count + 1], task=task) for count in range(len(made))]


def ask(app, body):
    return predict(app.test_client(), body)


@pytest.fixture
def expected(settings):
    """What one request after the other gives, each answered without a memory."""
    forgetful = create_app(settings.model_copy(update={"click_memory_mb": 0}))
    return lambda bodies: [ask(forgetful, body) for body in bodies]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_quick_clicks_in_any_order(app, expected, order):
    bodies = conversation(1)[:3]
    answers = {number: ask(app, bodies[number]) for number in order}
    assert [answers[number] for number in range(3)] == expected(bodies)


def test_quick_clicks_at_once_share_the_work(app, expected):
    queue, release = app.extensions["icmformer"].queue, threading.Event()
    busy = threading.Thread(target=queue.run, args=(release.wait, Deadline(PATIENCE)))
    busy.start()
    bodies = conversation(1)[:3]
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, app, body) for body in bodies]
        wait_until(lambda: queue.depth >= 4)
        release.set()
        answers = [future.result() for future in asked]
    busy.join()
    assert answers == expected(bodies)
    assert app.extensions["icmformer"].metrics.clicks._value.get() == 3


def test_eight_threads_get_what_one_would(app, expected):
    """Eight annotators, batches, webhooks and the page, all at once; nobody gets another's mask."""
    bodies = [body for task in range(8) for body in conversation(task)]
    bodies += [batch(saved_task(keypoint(50, 50), task=task)) for task in range(3)]
    shuffled = list(enumerate(bodies))
    random.Random(0).shuffle(shuffled)
    event = recorded("webhook_ANNOTATION_CREATED")

    def one(numbered):
        number, body = numbered
        client = app.test_client()
        assert client.get("/health").status_code == 200
        assert client.post("/webhook", json=event).status_code == 201
        assert client.get("/").status_code == client.get("/metrics").status_code == 200
        return number, ask(app, body)

    with ThreadPoolExecutor(8) as pool:
        answers = dict(pool.map(one, shuffled))
    assert [answers[number] for number in range(len(bodies))] == expected(bodies)
    assert app.extensions["icmformer"].queue.depth == 0


def test_memory_too_small_for_all_changes_nothing(settings, expected):
    bodies = [body for task in range(4) for body in conversation(task)]
    app = create_app(settings.model_copy(update={"click_memory_mb": 2, "image_cache_mb": 1}))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda body: ask(app, body), bodies)) == expected(bodies)
    assert app.extensions["icmformer"].sessions.nbytes <= 2 << 20
