"""The learning side as programs see it: what they ask for, and what is refused."""

import pytest

from ml_backend.learning.projects import ProjectNews
from tests.training.disc_project import accept


def test_what_is_done_over_rest_wants_a_body_as_all_is(client, learning):
    number = learning.jobs.request("2.1", "button")
    for path in (f"/api/jobs/{number}/cancel", "/api/projects/2/reconcile", "/api/projects/2/jobs"):
        for body in ({"data": "no json"}, {"json": {"nonsense": 1}}, {}):
            assert client.post(path, **body).status_code == 400, path
    assert learning.jobs.get(number).state == "waiting"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("projects/2/jobs", {"version": 3}, "'version' does not belong here: the body may have"),
        ("jobs/{}/cancel", {"reason": "dark"}, "'reason' does not belong here"),
        ("projects/2/reconcile", {"reason": 7}, "the body may have no key at all"),
    ],
)
def test_what_would_be_ignored_is_refused(client, learning, path, body, words):
    number = learning.jobs.request("2.1", "button")
    answer = client.post(f"/api/{path.format(number)}", json=body)
    assert (answer.status_code, words in answer.json["error"]) == (400, True)
    assert learning.jobs.get(number).reasons == ["button"]
    assert learning.jobs.get(number).state == "waiting"


def test_programs_do_the_same_over_rest(client):
    answer = client.post("/api/projects/2/live", json={"move": "promote", "version": 2})
    assert answer.json["live"]["version"] == 2
    assert answer.json["moves"][0]["move"] == "promote"
    answer = client.post("/api/projects/2/live", json={"move": "rollback"})
    left = {"version": 1, "pinned": False, "own": False}
    assert left.items() <= answer.json["live"].items()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"move": "promote"}, 400, "say which version to promote"),
        ({"move": "explode"}, 400, "is not one of"),
        ({"move": "rollback", "version": 2}, 400, "rollback takes no version"),
        ({"move": "pin", "version": 2}, 400, "pin takes no version"),
        ({"move": "unpin", "version": 2}, 400, "unpin takes no version"),
        ({"move": "promote", "version": "two"}, 400, "must be a whole number"),
        ({"move": "pin", "reason": "\ud800"}, 400, '"reason" is not valid Unicode'),
        ({"move": "pin", "reason": 501 * "a"}, 400, '"reason" has more than 500 letters'),
        ({"move": "pin", "reason": "\0"}, 400, '"reason" holds a NUL character'),
        ({"move": "promote", "version": True}, 400, "must be a whole number"),
        ({"move": "pin", "stat": 7}, 400, "'stat' does not belong here: the body may have move, "),
        ({"move": "promote", "version": 77}, 404, "there is no version 77"),
        ({"move": "unpin"}, 409, "nothing is pinned here"),
        ([], 400, "is a JSON list, not an object"),
    ],
)
def test_what_cannot_be_done_gets_a_sentence(client, body, status, words):
    answer = client.post("/api/projects/2/live", json=body)
    assert (answer.status_code, words in answer.json["error"]) == (status, True)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("{}", "text/plain", "send a JSON object, with Content-Type: application/json"),
        ("[" * 200_000, "application/json", "the request body is not JSON"),
    ],
)
def test_what_is_no_json_gets_a_sentence(client, body, kind, words):
    answer = client.post("/api/projects/2/live", data=body, content_type=kind)
    assert (answer.status_code, answer.json["error"]) == (400, words)


def test_programs_see_whether_a_comparison_came_failed_or_is_awaited(client, learning):
    learning.projects.remember("9.1", ProjectNews("Compared"))

    def seen():
        facts = client.get("/api/projects/9").json["reconciled"]
        return facts["asked_at"], facts["problem"], facts["failed_at"]

    assert seen() == (None, "", None)
    client.post("/api/projects/9/reconcile", json={})
    asked_at, *failed = seen()
    assert (asked_at[-1], failed) == ("Z", ["", None])
    learning.projects.not_reconciled(learning.projects.find("9.1"), "no token")
    asked_again_at, problem, failed_at = seen()
    assert (asked_again_at, problem, failed_at >= asked_at) == (asked_at, "no token", True)
    learning.projects.reconciled(learning.projects.find("9.1"), "all well")
    assert seen() == (None, "", None)


def test_programs_are_told_how_many_masks_are_new(client, learning):
    learning.projects.remember("10.1", ProjectNews("New"))
    accept(learning.samples, 1, "10.1")
    facts = client.get("/api/projects/10").json
    assert facts["new_samples"] == 1
    assert facts["next_job"].startswith("New masks: 1; ")
    client.post("/api/projects/10/jobs", json={})
    facts = client.get("/api/projects/10").json
    assert (facts["new_samples"], facts["next_job"]) == (None, None)
