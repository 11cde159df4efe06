"""What Label Studio never writes, but whoever has the login may send."""

import pytest

from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import number_of
from tests.ml_backend.message_loop import brush, saved


@pytest.mark.parametrize("value", [True, "9", "٩", 9.0, None, [9]])
def test_only_a_whole_number_is_one(value):
    assert number_of({"id": 9}) == 9
    with pytest.raises(RequestError, match='"id" of a task or an annotation must be a whole'):
        number_of({"id": value})


@pytest.mark.parametrize("annotation", [True, "1", "\u0661"])
@pytest.mark.parametrize("action", ["ANNOTATION_UPDATED", "ANNOTATION_DELETED"])
def test_an_annotation_is_not_taken_for_another_whose_number_its_id_resembles(
    loop, action, annotation
):
    loop.deliver(saved(brush(10), annotation=1))
    loop.deliver(saved(brush(50, 20), action=action, annotation=annotation, second=5))
    assert loop.areas() == [100]


def test_a_message_that_waits_with_an_impossible_date_spoils_no_other(loop):
    loop.put(saved(brush(10)))
    broken = saved(brush(90), annotation=5)
    broken["annotation"]["updated_at"] = "0001-01-01T00:00:00+14:00"
    loop.put(broken)
    assert loop.ingest.drain() == 2
    assert loop.areas() == [100]
