"""What Label Studio never writes, but whoever has the login may send."""

import pytest

from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import number_of
from ml_backend.learning.inbox import MessageRow
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


def annotation_with(**changes):
    message = saved(brush(50), annotation=5)
    message["annotation"] |= changes
    return message


def without(message, key):
    return {name: value for name, value in message.items() if name != key}


NO_NUMBER = "of a task or an annotation must be a whole number"
NO_TIME = '"updated_at" of an annotation must be a time'


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (without(saved(brush(9)), "task"), "an object must stand where a null is"),
        ({**saved(brush(9)), "task": {}}, f'"id" {NO_NUMBER}'),
        ({**saved(brush(9)), "annotation": [5]}, "an object must stand where a number is"),
        (annotation_with(id=None), f'"id" {NO_NUMBER}'),
        (annotation_with(id=2**70), f'"id" {NO_NUMBER}'),
        (annotation_with(task=None), f'"task" {NO_NUMBER}'),
        (annotation_with(task=77), "the message does not describe task 77 of its annotation"),
        (annotation_with(updated_at=None), NO_TIME),
        (annotation_with(updated_at=5), NO_TIME),
        (annotation_with(updated_at="yesterday"), NO_TIME),
        (annotation_with(updated_at="0001-01-01T00:00:00+14:00"), NO_TIME),
        ({**saved(brush(9)), "action": "ANNOTATIONS_DELETED", "annotations": [{}]}, NO_NUMBER),
        ({**saved(brush(9)), "action": "ANNOTATIONS_DELETED", "annotations": [5]}, "an object"),
    ],
)
def test_a_malformed_message_is_given_up_at_once_and_in_a_sentence(loop, caplog, message, told):
    loop.deliver(message)
    (row,) = loop.rows(MessageRow)
    assert (row.state, row.attempts, caplog.text) == ("failed", 1, "")
    assert told in row.note


def test_a_malformed_annotation_holds_up_no_other_of_its_message(loop):
    whole, malformed = saved(brush(10)), annotation_with(id=None)
    both = [malformed["annotation"], whole["annotation"]]
    loop.deliver({**whole, "annotation": both})
    assert list(loop.annotations()) == [4]


def test_a_message_that_waits_with_an_impossible_date_spoils_no_other(loop):
    loop.put(saved(brush(10)))
    broken = saved(brush(90), annotation=5)
    broken["annotation"]["updated_at"] = "0001-01-01T00:00:00+14:00"
    loop.put(broken)
    assert loop.ingest.drain() == 2
    assert loop.areas() == [100]
