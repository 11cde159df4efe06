"""What a job leaves on disk: enough to be continued, by nobody else, and not for ever."""

import threading
from pathlib import Path

from ml_backend.learning.assembly import open_learning
from ml_backend.learning.worker import Worker


def test_ended_jobs_keep_only_their_logs(learning):
    def left():
        return {
            job: sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
            for job, folder in folders.items()
        }

    folders = {}
    for project in "abcde":
        job = learning.jobs.request(project, "button")
        folders[job] = learning.job_folders.make(learning.jobs.get(job))
        (folders[job] / "decoded").mkdir()
        for name in ("log.txt", "plan.json", "state-000000000012.pt", "decoded/pixels.u8"):
            (folders[job] / name).write_text(project)
    running, waiting, *ended = folders
    for job in (running, *ended[:2]):
        learning.jobs.claim("w", job)
    learning.jobs.finish(ended[0], "w", "not better", "no better", None)
    learning.jobs.fail(ended[1], "w", "out of memory")
    learning.jobs.cancel(ended[2])
    before = left()
    Worker(learning, threading.Event()).tick()
    assert left() == before | {job: ["log.txt"] for job in ended}
    assert len(before[waiting]) == 5


def test_looking_for_the_log_of_a_job_that_did_not_begin_writes_nothing(learning, settings):
    job = learning.jobs.get(learning.jobs.request("a", "button"))
    log = learning.job_folders.log(job)
    assert not log.exists()
    assert not (settings.model_dir / "jobs").exists()


def test_what_cannot_be_deleted_keeps_nobody_from_the_rest(learning, monkeypatch):
    for project in "ab":
        job = learning.jobs.request(project, "button")
        (learning.job_folders.make(learning.jobs.get(job)) / "plan.json").touch()
        learning.jobs.cancel(job)
    # As another user's, which a test that may run as root cannot make.
    real = Path.unlink
    stuck = learning.job_folders.make(learning.jobs.get(1)) / "plan.json"

    def unlink(path, **options):
        if path == stuck:
            raise PermissionError(path)
        real(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    learning.job_folders.tidy()
    assert [path.parent for path in stuck.parent.parent.glob("*/plan.json")] == [stuck.parent]


def test_a_job_of_a_new_database_continues_none_of_the_lost_one(learning, settings):
    first = learning.jobs.request("1.1795327560", "button")
    kept = learning.job_folders.make(learning.jobs.get(first)) / "plan.json"
    kept.write_text("of another project")
    learning.close()
    again = open_learning(settings)
    assert again.job_folders.make(again.jobs.get(first)) / "plan.json" == kept
    again.close()
    for file in settings.model_dir.glob("state.db*"):
        file.unlink()
    (settings.model_dir / "files").rename(settings.model_dir / "files of the lost one")
    new = open_learning(settings)
    assert new.jobs.request("2.1795327560", "button") == first
    assert not list(new.job_folders.make(new.jobs.get(first)).iterdir())
    new.close()
