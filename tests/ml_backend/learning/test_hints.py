from ml_backend.learning.hints import Hints
from ml_backend.learning.work_queue import NoDuties, declare_tasks, open_queue
from ml_backend.settings import Settings
from tests.waiting import wait_until


def of_hints(caplog):
    return [record for record in caplog.records if record.name == Hints.__module__]


def test_a_hint_that_is_lost_is_one_line_in_the_log(tmp_path, caplog):
    settings = Settings(model_dir=tmp_path, queue_url="redis://127.0.0.1:1/0")
    queue = open_queue(settings)
    Hints(declare_tasks(queue, NoDuties())).train()
    # Whatever other tests of this process have left may have something to say as well.
    wait_until(lambda: of_hints(caplog), 20)
    (record,) = of_hints(caplog)
    assert "127.0.0.1:1" in record.message
    assert record.exc_info is None
