"""A listing that holds what Label Studio itself does not send."""

from tests.ml_backend.learning.worker.disc_tasks import (
    PROJECT,
    deliver,
    task,
    tasks_with_samples,
)


def test_an_annotation_without_a_number_holds_up_no_other(learning, worker, server):
    deliver(learning, server, 0)
    worker.ingest()
    odd = {**task(1), "annotations": [{"result": []}, *task(1)["annotations"], None]}
    server.tasks = [task(0), odd, task(2)]
    compared = worker.reconcile(learning.projects.find(PROJECT))
    assert compared.sentence == (
        "3 annotations compared, 0 withdrawn, 1 unusable, such as: task 1: an annotation that has "
        "no number"
    )
    assert tasks_with_samples(learning) == [0, 1, 2]
