import os
import pickle
from datetime import datetime
from pathlib import Path

import pytest
from huey.registry import Message

from ml_backend.errors import SettingsError
from ml_backend.learning.work_queue import (
    HintSerializer,
    NoDuties,
    declare_tasks,
    open_queue,
    require_reachable,
)
from ml_backend.settings import Settings

UNREACHABLE = "redis://127.0.0.1:1/0"
POSTGRESQL = os.environ.get("TEST_POSTGRESQL")


@pytest.fixture
def settings(tmp_path):
    return Settings(model_dir=tmp_path)


@pytest.mark.parametrize("url", [None, UNREACHABLE])
def test_nobody_who_can_write_to_the_queue_can_have_programs_run(settings, url):
    queue = open_queue(settings.model_copy(update={"queue_url": url}))
    assert isinstance(queue.serializer, HintSerializer)


def test_the_same_hints_in_every_process(settings):
    queue = open_queue(settings)
    done = []

    class Duties(NoDuties):
        def ingest(self):
            done.append("ingest")

    declare_tasks(open_queue(settings), NoDuties()).ingest()
    declare_tasks(queue, Duties())
    queue.execute(queue.dequeue())
    assert done == ["ingest"]
    queue.storage.close()


class Program:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_program_in_the_queue_is_not_run(settings, tmp_path):
    queue = open_queue(settings)
    declare_tasks(queue, NoDuties())
    queue.storage.enqueue(pickle.dumps(Program(tmp_path / "run")))
    queue.storage.enqueue(HintSerializer().serialize(Message("1", "icmformer.ingest")))
    with pytest.raises(ValueError, match="utf-8"):
        queue.dequeue()
    assert not (tmp_path / "run").exists()
    assert queue.dequeue().name == "ingest"
    queue.storage.close()


def test_hints_bear_no_name_of_a_module_of_ours_that_another_release_may_lack(settings):
    queue = open_queue(settings)
    declare_tasks(queue, NoDuties()).ingest()
    (task,) = queue.pending()
    assert (type(task).__module__, task.name) == ("icmformer", "ingest")
    queue.storage.close()


def test_a_tick_that_nobody_foresaw_to_fail_keeps_no_job_waiting(settings, caplog):
    queue = open_queue(settings)
    done = []

    class Duties(NoDuties):
        def tick(self):
            raise PermissionError("plan.json")

        def train(self):
            done.append("train")

    declare_tasks(queue, Duties()).tick()
    queue.execute(queue.dequeue())
    assert done == ["train"]
    assert "plan.json" in caplog.text
    queue.storage.close()


def test_every_minute_what_is_due_is_done_without_a_hint(settings):
    queue = open_queue(settings)
    done = []

    class Duties(NoDuties):
        def tick(self):
            done.append("tick")

        def train(self):
            done.append("train")

        def reconcile_due(self):
            done.append("reconcile")

    declare_tasks(queue, Duties())
    for minute in range(60):
        done.clear()
        for task in queue.read_periodic(datetime(2026, 1, 1, 0, minute)):
            queue.execute(task)
        assert sorted(done) == ["reconcile", "tick", "train"]
    queue.storage.close()


def test_a_queue_that_is_down_is_named(settings):
    require_reachable(open_queue(settings))
    queue = open_queue(settings.model_copy(update={"queue_url": UNREACHABLE}))
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:1.*ICMFORMER_QUEUE_URL"):
        require_reachable(queue)


@pytest.mark.parametrize(
    "address", ["redis://:pa[ss]@host/0", "redis://host:99999/0", "redis://host/0?socket_timeout=a"]
)
def test_an_address_that_redis_cannot_read_is_refused_with_a_sentence(settings, address):
    changed = settings.model_copy(update={"queue_url": address})
    with pytest.raises(SettingsError, match=r"^ICMFORMER_QUEUE_URL cannot be read: ") as error:
        open_queue(changed)
    assert "ss" not in str(error.value).replace("password", "")


def test_an_option_that_redis_does_not_know_is_refused_with_a_sentence(settings):
    queue = open_queue(settings.model_copy(update={"queue_url": f"{UNREACHABLE}?foo=bar"}))
    with pytest.raises(SettingsError, match=r"^ICMFORMER_QUEUE_URL cannot be read: "):
        require_reachable(queue)


def test_a_postgresql_queue_that_is_down_stops_the_worker_alone(settings):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    address = "postgresql://127.0.0.1:1/queue"
    queue = open_queue(settings.model_copy(update={"queue_url": address}))
    declare_tasks(queue, NoDuties())
    with pytest.raises(SettingsError, match=r"^the queue cannot be reached: .*ICMFORMER_QUEUE_URL"):
        require_reachable(queue)


@pytest.mark.skipif(not POSTGRESQL, reason="TEST_POSTGRESQL is not set")
def test_a_worker_makes_what_a_postgresql_queue_lacks(settings):
    address = POSTGRESQL.replace("postgresql+psycopg://", "postgresql://")
    queue = open_queue(settings.model_copy(update={"queue_url": address}))
    require_reachable(queue)
    declare_tasks(queue, NoDuties()).ingest()
    assert queue.execute(queue.dequeue()) is None
    queue.flush()
    queue.storage.close()


@pytest.mark.parametrize("damage", ["garbage", "truncated"])
def test_a_damaged_file_begins_anew_for_it_holds_hints_alone(settings, caplog, damage):
    queue = open_queue(settings)
    hint = declare_tasks(queue, NoDuties()).ingest
    for _ in range(200):
        hint()
    queue.storage.close()
    file = settings.model_dir / "queue.db"
    for rest in settings.model_dir.glob("queue.db-*"):
        rest.unlink()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"garbage!" * 1000)

    queue = open_queue(settings)

    require_reachable(queue)
    assert f"the queue {file} was damaged and begins anew" in caplog.text
    queue.storage.close()


def test_a_file_that_cannot_be_used_is_named(settings):
    (settings.model_dir / "queue.db").mkdir()
    with pytest.raises(SettingsError, match=r"^the queue .*queue\.db cannot be used: [^\n]*$"):
        open_queue(settings)
