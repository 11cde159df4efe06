from ml_backend.learning.hints import Hints
from ml_backend.learning.work_queue import NoDuties, declare_tasks, open_queue
from ml_backend.settings import Settings
from tests.waiting import wait_until


def test_a_hint_that_is_lost_is_one_line_in_the_log(tmp_path, caplog):
    settings = Settings(model_dir=tmp_path, queue_url="redis://127.0.0.1:1/0")
    queue = open_queue(settings)
    Hints(declare_tasks(queue, NoDuties())).train()
    wait_until(lambda: caplog.records, 20)
    (record,) = caplog.records
    assert "127.0.0.1:1" in record.message
    assert record.exc_info is None
