"""What people should look at, of projects where there is a lot of it."""

from datetime import UTC, datetime, timedelta

from ml_backend.learning.projects import ProjectNews
from tests.ml_backend.web.pages.reading import page
from training.store.samples import Annotation

START = datetime(2026, 2, 1, tzinfo=UTC)
BOXES = "rectanglelabels ignored: only brush masks are learned from"


def note(learning, project, number, *notes, status="empty", **more):
    moment = START + timedelta(minutes=number)
    learning.samples.replace(
        Annotation(project, number, number, moment, status, notes=notes, **more)
    )


def test_a_thousand_boxes_are_one_line_below_what_must_be_done(client, learning):
    learning.projects.remember("5.1", ProjectNews("Boxes", "", "http://ls:8080"))
    for number in range(100, 400):
        note(learning, "5.1", number, BOXES)
    note(learning, "5.1", 7, "task 7: image is 404", status="unreadable")
    note(learning, "5.1", 8, "saved with clicks", labels_without_mask=("Object",))
    facts = client.get("/api/projects/5").json
    assert [row["annotation"] for row in facts["to_look_at"]] == [8, 7]
    (kind,) = facts["left_out"]
    assert (kind["notes"], kind["annotations"]) == ([BOXES], 300)
    assert kind["tasks"][0] == {"task": 399, "address": "http://ls:8080/projects/5/data?task=399"}
    text = page(client, "/projects/5")
    assert text.count(BOXES) == 1
    assert text.count("data?task=") == 2 + len(kind["tasks"])
    assert text.index("404") < text.index(BOXES)
    assert "more annotation" not in text


def test_what_would_bury_the_jobs_is_folded_and_the_rest_counted(client, learning):
    learning.projects.remember("15.1", ProjectNews("Lost"))
    for number in range(210):
        note(learning, "15.1", number, "saved with clicks", labels_without_mask=("Object",))
    for number in range(300, 360):
        note(learning, "15.1", number, f"region 'r{number}' is empty")
    facts = client.get("/api/projects/15").json
    assert (len(facts["to_look_at"]), facts["more_to_look_at"]) == (200, 10)
    assert (len(facts["left_out"]), facts["more_left_out"]) == (50, 10)
    text = page(client, "/projects/15")
    shown, _, folded = text.partition("<details><summary>180 more</summary>")
    assert shown.count("saved with clicks") == 20
    assert folded.count("saved with clicks") == 180
    assert "<summary>40 more</summary>" in text
    assert "And 10 more annotations." in text
    assert "And something of 10 more annotations." in text


def test_messages_that_wait_and_those_given_up_each_say_their_own_problem(client, learning):
    learning.projects.remember("25.1", ProjectNews("Mail"))
    for given_up, problem in ((False, "Label Studio is away"), (True, "image is 404")):
        message = learning.inbox.put("ANNOTATION_CREATED", "25.1", b"{}")
        (learning.inbox.fail if given_up else learning.inbox.retry)(message, problem)
    messages = client.get("/api/projects/25").json["messages"]
    assert (messages["waiting_problem"], messages["failed_problem"]) == (
        "Label Studio is away",
        "image is 404",
    )
    text = page(client, "/projects/25")
    assert text.count("Label Studio is away") == text.count("image is 404") == 1
    assert "could not be dealt with: image is 404" in text
    learning.inbox.forget("25.1")


def test_a_project_that_is_not_connected_is_marked_in_the_list(client, learning):
    for number, state in ((41, "connected"), (42, "not connected"), (43, "gone")):
        learning.projects.remember(f"{number}.1", ProjectNews(f"Project {state}"))
        learning.projects.reconciled(learning.projects.find(f"{number}.1"), "compared", state)
    facts = client.get("/api/projects").json["projects"]
    assert [one["state"] for one in facts if one["number"] in ("41", "42", "43")] == [
        "gone", "not connected", "connected",
    ]  # fmt: skip
    text = page(client, "/projects/")
    for state in ("not connected", "gone"):
        assert f'<span class="badge">{state}</span>' in text
    assert '<span class="badge">connected' not in text
