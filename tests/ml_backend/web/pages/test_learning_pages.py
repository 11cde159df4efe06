"""The learning side over HTTP: pages for people and REST for programs, with the same effects."""

import re
from datetime import UTC, datetime
from functools import partial

import pytest

from ml_backend.app import create_app
from ml_backend.learning.fine_tune_jobs import Beat
from ml_backend.learning.job_runner import StageClock
from ml_backend.learning.learning_facts import annotations_to_look_at, log_tail
from ml_backend.learning.projects import ProjectNews, ProjectRow
from ml_backend.settings import Settings
from tests.ml_backend.web.pages.reading import FORM, page
from tests.training.disc_project import PROJECT
from training.store.live_pointer import Mover, promote
from training.store.model_versions import Candidate
from training.store.samples import Annotation


def test_the_list_of_projects_leads_to_each(client):
    text = page(client, "/projects/")
    assert "Discs" in text
    assert f'href="/projects/{PROJECT}"' in text
    assert 'href="/projects/"' in page(client, "/")


def test_a_project_shows_samples_jobs_versions_and_what_to_look_at(client):
    text = page(client, "/projects/2")
    assert "<strong>24</strong>accepted masks" in text
    assert '<svg class="chart"' in text
    assert "saved with clicks but without the mask of Object" in text
    assert "http://ls:8080/projects/2/data?task=77" in text
    assert "task 76: image is 404" in text
    assert "20 new samples" in text
    assert "New masks: 0; the next job starts after 20 more." in text
    assert text.count('<svg class="lineage"') == 2
    assert "v2-" in text
    assert "starter-" in text


def test_a_project_without_a_title_has_the_same_name_everywhere(client, learning):
    learning.projects.remember("35.1", ProjectNews())
    job = learning.jobs.request("35.1", "button")
    for path in ("", "35", f"35/jobs/{job}", "35/versions/1"):
        assert ">Project 35</bdi>" in page(client, f"/projects/{path}")
    learning.jobs.cancel(job)


@pytest.mark.parametrize(
    ("hostname", "link"),
    [
        ("https://ls.example.com/studio/", "https://ls.example.com/studio/projects/2/"),
        ("javascript:alert(1)//", "http://label-studio.internal:8080/projects/2/"),
        ("", "http://label-studio.internal:8080/projects/2/"),
    ],
)
def test_links_lead_where_browsers_find_label_studio(learning, hostname, link):
    project = ProjectRow(key=PROJECT, number="2", hostname=hostname)
    shown = annotations_to_look_at(learning, project)["to_look_at"]
    addresses = [row["address"] for row in shown]
    assert addresses
    assert all(address.startswith(f"{link}data?task=") for address in addresses)


def test_a_version_shows_its_story_curves_and_pictures(client):
    text = page(client, "/projects/2/versions/2")
    assert "What the gate said" in text
    assert "saved with clicks" not in text
    assert "held-out objects" in text.lower()
    assert "data:image/jpeg;base64," in text
    _, _, in_numbers = text.partition("<summary>Held-out objects, in numbers</summary>")
    cells = re.findall(r'<td class="number">(.*?)</td>', in_numbers.partition("</table>")[0])
    assert (len(cells), cells[::3]) == (9, ["1", "2", "3"]), "clicks, mean IoU before and after"
    assert all(0 <= float(mean) <= 1 for mean in cells[1::3] + cells[2::3])
    assert "iterative_clicks" in text
    assert "version 1" in text


def test_a_job_shows_its_log(client):
    text = page(client, "/projects/2/jobs/1")
    assert "the last line" in text
    assert "20 new samples" in text


def test_unknown_things_are_said_to_be_unknown(client):
    for path, words in (
        ("/projects/77", "project 77 has never been seen here"),
        ("/projects/2/jobs/77", "there is no job 77"),
        ("/projects/2/versions/77", "there is no version 77"),
    ):
        answer = client.get(path)
        assert (answer.status_code, words in answer.text) == (404, True)
        answer = client.get(path.replace("/projects/2/", "/").replace("/", "/api/", 1))
        assert (answer.status_code, answer.json) == (404, {"error": words})
    for path in ("/projects/77/jobs", "/projects/2/jobs/77/cancel"):
        assert client.post(path, headers=FORM).status_code == 404
    assert client.post("/api/jobs/77/cancel").status_code == 404


def test_a_job_is_shown_and_cancelled_below_its_own_project(client, learning):
    number = learning.jobs.request("3.1", "of project 3")
    assert client.get(f"/projects/2/jobs/{number}").status_code == 404
    assert client.post(f"/projects/2/jobs/{number}/cancel", headers=FORM).status_code == 404
    assert learning.jobs.get(number).state == "waiting"


def test_a_project_decides_nothing_about_anothers_version(client, learning):
    versions = learning.stores.versions
    compared = {"verdict": "ask", "scores": {"compared_with": 1}}
    number = versions.publish(Candidate("3", versions.checkpoint(1), project="3.1", **compared))
    for move in ("keep", "promote"):
        body = {"move": move, "version": number}
        answer = client.post("/api/projects/2/live", json=body)
        assert (answer.status_code, "for another project" in answer.json["error"]) == (404, True)
        assert client.post("/projects/2/live", data=body, headers=FORM).status_code == 404
    assert client.get(f"/api/versions/{number}").json["undecided"] is True
    assert client.get(f"/projects/2/versions/{number}").status_code == 404
    site = client.post("/api/site/live", json={"move": "keep", "version": number})
    assert site.status_code == 200


def live(client):
    return client.get("/api/projects/2").json["live"]


def test_people_promote_pin_and_roll_back_on_the_page(client):
    for form, version, pinned, told in (
        ({"move": "promote", "version": 2}, 2, False, "version 2 was made live, "),
        ({"move": "pin", "reason": " "}, 2, True, "version 2 was pinned, "),
        ({"move": "unpin"}, 2, False, "unpinned, now version 2, "),
        (
            {"move": "rollback", "reason": "worse on dark images"},
            *(1, False, "back to the site, now served with what the site has, "),
        ),
    ):
        answer = client.post("/projects/2/live", data=form, headers=FORM)
        assert (answer.status_code, answer.location) == (303, "/projects/2#versions")
        assert (live(client)["version"], live(client)["pinned"]) == (version, pinned)
        said = page(client, "/projects/2").partition('<p role="status">Last decision: ')[2]
        assert said.startswith(told)
        assert "UTC, by <bdi>somebody without a login</bdi>.</p>" in said
    reasons = [move["reason"] for move in client.get("/api/projects/2").json["moves"]]
    assert reasons[:4] == ["worse on dark images", "page", "page", "page"]


def test_the_decision_of_a_person_is_recorded_and_what_is_live_is_not_kept_from_it(
    client, learning
):
    versions = learning.stores.versions
    learning.projects.remember("5.1", ProjectNews("Asks"))
    number = versions.publish(
        Candidate(
            "asks",
            versions.checkpoint(1),
            project="5.1",
            verdict="ask",
            scores={"compared_with": 1},
        )
    )

    def decide(move):
        body = {"move": move, "version": number}
        answer = client.post("/projects/5/live", data=body, headers=FORM)
        return answer, client.get(f"/api/versions/{number}").json["answer"]["answer"]

    assert "Last decision" not in page(client, "/projects/5")
    assert decide("keep")[1] == "kept"
    kept = f"Last decision: what was live was kept instead of version {number}, "
    assert kept in page(client, "/projects/5")
    assert decide("promote")[1] == "promoted"
    assert f"Last decision: version {number} was made live, " in page(client, "/projects/5")
    refused, answer = decide("keep")
    assert (refused.status_code, refused.mimetype, answer) == (409, "text/html", "promoted")
    assert f"version {number} is live already" in refused.text


def test_a_damaged_version_cannot_be_made_live(client, learning):
    weights = learning.stores.versions.checkpoint(2)
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"?")
    answer = client.post("/projects/2/live", data={"move": "promote", "version": 2}, headers=FORM)
    weights.write_bytes(content)
    assert answer.status_code == 409
    assert "is damaged" in answer.text
    assert live(client)["version"] == 1


def test_nobody_goes_back_to_a_damaged_version(client, learning):
    client.post("/api/projects/2/live", json={"move": "promote", "version": 2})
    weights = learning.stores.versions.checkpoint(1)
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"?")
    answer = client.post("/api/projects/2/live", json={"move": "rollback"})
    weights.write_bytes(content)
    assert answer.status_code == 409
    assert "is damaged; promote another version instead" in answer.json["error"]
    assert live(client)["version"] == 2


def test_a_version_that_cannot_be_loaded_is_refused_on_a_page(client, learning, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"x")
    (tmp_path / "x.json").write_text('{"format": "icmformer-9"}')
    learning.projects.remember("4.1", ProjectNews("Future"))
    made = Candidate("of a newer program", tmp_path / "x.safetensors", project="4.1")
    body = {"move": "promote", "version": learning.stores.versions.publish(made)}
    answer = client.post("/projects/4/live", data=body, headers=FORM)
    assert (answer.status_code, answer.mimetype) == (409, "text/html")
    assert f"version {body['version']} cannot be served" in answer.text
    assert "icmformer-9" in answer.text


@pytest.mark.parametrize("path", ["/", "/projects/", "/projects/2", "/projects/77"])
def test_no_other_site_shows_a_page_in_a_frame(client, path):
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/projects/2", "/api/projects/2", "/projects/77"])
def test_no_answer_is_kept_by_browsers_and_proxies(client, path):
    assert client.get(path).headers["Cache-Control"] == "no-store"


def test_another_site_cannot_act_with_a_visitors_browser(client):
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        answer = client.post("/projects/2/live", data={"move": "pin"}, headers=headers)
        assert answer.status_code == 403
        assert client.post("/api/projects/2/jobs", json={}, headers=headers).status_code == 403
    assert client.post("/api/projects/2/live", data={"move": "pin"}).status_code == 400
    assert live(client)["pinned"] is False


def test_jobs_are_asked_for_watched_and_cancelled(client, learning):
    answer = client.post("/api/projects/2/jobs", json={"reason": "a test"})
    assert answer.status_code == 202
    number = answer.json["job"]
    assert answer.json["state"] == "waiting"
    assert client.post("/api/projects/2/jobs", json={"reason": " "}).json["job"] == number
    assert learning.jobs.get(number).reasons == ["a test", "REST"]
    learning.jobs.claim("w2", number)
    learning.jobs.beat(number, "w2", Beat("training", 30, 300, 240.0))
    text = page(client, "/projects/2")
    assert '<progress value="30" max="300" aria-label="training">' in text
    assert "time left: 4 min" in text
    assert 'http-equiv="refresh"' in text
    assert client.get(f"/api/jobs/{number}").json["seconds_left"] == 240.0
    answer = client.post(f"/projects/2/jobs/{number}/cancel", headers=FORM)
    assert answer.status_code == 303
    assert "cancelling" in page(client, f"/projects/2/jobs/{number}")
    learning.jobs.release(number, "w2")
    assert client.get(f"/api/jobs/{number}").json["state"] == "cancelled"
    assert client.post(f"/api/jobs/{number}/cancel", json={}).status_code == 409
    assert 'http-equiv="refresh"' not in page(client, "/projects/2")


def test_half_a_character_takes_no_page_away(client, learning):
    answer = client.post("/api/projects/2/jobs", json={"reason": "\ud800"})
    assert (answer.status_code, "not valid Unicode" in answer.json["error"]) == (400, True)
    learning.projects.remember("8.1", ProjectNews("Halves"))
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    learning.samples.replace(
        Annotation("8.1", 1, 1, moment, "empty", notes=("without the mask of \ud800",))
    )
    assert "the mask of ?" in page(client, "/projects/8")


def test_the_page_asks_for_jobs_and_reconciliation(client, learning):
    assert client.post("/projects/2/jobs", headers=FORM).status_code == 303
    (newest, *_) = learning.jobs.of_project(PROJECT)
    assert newest.state == "waiting"
    learning.jobs.cancel(newest.id)
    learning.projects.ask_to_reconcile(PROJECT)
    assert "Not yet compared with Label Studio: a comparison that was asked for" in page(
        client, "/projects/2"
    )
    learning.projects.reconciled(learning.projects.find(PROJECT), "all well")
    learning.projects.not_reconciled(learning.projects.find(PROJECT), "no token")
    assert "UTC: all well; a later try failed: no token" in page(client, "/projects/2")
    learning.projects.reconciled(learning.projects.find(PROJECT), "all well")
    assert client.post("/projects/2/reconcile", headers=FORM).status_code == 303
    assert learning.projects.find(PROJECT).is_reconcile_asked_for
    assert "all well; a comparison that was asked for at" in page(client, "/projects/2")


def test_the_site_has_a_pointer_of_its_own(client, learning):
    assert client.post("/api/site/live", json={"move": "rollback"}).status_code == 409
    other = Mover("test", "")
    learning.stores.versions.move(partial(promote, project="", version=2, mover=other))
    assert client.get("/api/projects").json["site"]["version"] == 2
    learning.projects.remember("11.1", ProjectNews("Follows the site"))
    move = {"move": "promote", "version": 2}  # which was made for project 2
    assert client.post("/api/projects/11/live", json=move).status_code == 200
    client.post("/api/site/live", json={"move": "rollback"})
    assert client.get("/api/projects").json["site"]["version"] == 1


def test_a_project_that_follows_a_pinned_site_can_be_pinned_itself(client):
    client.post("/api/site/live", json={"move": "pin"})
    text = page(client, "/projects/2")
    assert 'name="move" value="pin"' in text
    assert 'name="move" value="unpin"' not in text
    client.post("/projects/2/live", data={"move": "pin"}, headers=FORM)
    assert 'name="move" value="unpin"' in page(client, "/projects/2")
    client.post("/projects/2/live", data={"move": "unpin"}, headers=FORM)
    assert live(client)["own"] is False
    client.post("/api/site/live", json={"move": "unpin"})


def test_with_a_login_the_pages_are_for_those_who_know_it(tmp_path, checkpoint):
    login = {"basic_auth_user": "ann", "basic_auth_pass": "secret"}
    app = create_app(Settings(model_dir=tmp_path, checkpoint=checkpoint, **login))
    client = app.test_client()
    learning = app.extensions["icmformer"].learning
    learning.projects.remember(PROJECT, ProjectNews("Discs"))
    for path in ("/", "/projects/", "/projects/2"):
        refused = client.get(path)
        assert (refused.status_code, refused.www_authenticate.type) == (401, "basic")
        assert refused.mimetype == "text/html"
        assert '<html lang="en">' in refused.text
        assert "<title>Not done · iCMFormer backend</title>" in refused.text
        assert "this backend asks for a login" in refused.text
    for path in ("/versions", "/api/projects", "/metrics"):
        refused = client.get(path)
        assert refused.json["error"].startswith("this backend asks for a login"), path
    assert client.post("/api/site/live", json={"move": "pin"}).status_code == 401
    client.post("/api/site/live", json={"move": "pin"}, auth=("ann", "secret"))
    assert learning.stores.versions.history("")[-1].by == "ann"


@pytest.mark.parametrize("path", ["/api/jobs/{}", "/api/versions/{}", "/projects/2/jobs/{}"])
def test_a_number_that_no_database_holds_is_of_nothing(client, path):
    answer = client.get(path.format(10**20))
    assert answer.status_code == 404
    assert "there is no" in answer.text


def test_of_a_progress_bar_the_log_shows_what_one_would_see(learning):
    log = learning.job_folders.make(learning.jobs.get(1)) / "log.txt"
    before = log.read_bytes()
    log.write_bytes(b"first\n\rdecoding: 0 %\rdecoding: 100 %\r\nlast\n")
    assert log_tail(learning, learning.jobs.get(1)) == "first\ndecoding: 100 %\nlast"
    log.write_bytes(before)


def test_a_log_is_shown_from_the_middle_of_a_character_on(learning):
    log = learning.job_folders.make(learning.jobs.get(1)) / "log.txt"
    before = log.read_bytes()
    log.write_bytes("ä".encode() * 32_000 + b"!")  # its last 64,000 bytes begin with half of one
    assert (
        log_tail(learning, learning.jobs.get(1)) == "\N{REPLACEMENT CHARACTER}" + "ä" * 31_999 + "!"
    )
    log.write_bytes(before)


def test_the_time_left_of_a_continued_job_counts_what_it_did_itself(monkeypatch):
    seconds = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr("ml_backend.learning.job_runner.monotonic", lambda: next(seconds))
    clock = StageClock()
    assert clock.seconds_left("training", 150, 200) is None
    assert clock.seconds_left("training", 160, 200) == 40.0
    assert clock.seconds_left("training", 170, 200) == 30.0


def test_the_time_left_of_a_training_counts_judging_what_comes_of_it(monkeypatch):
    seconds = iter([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0])
    monkeypatch.setattr("ml_backend.learning.job_runner.monotonic", lambda: next(seconds))
    clock = StageClock()
    told = [
        clock.seconds_left(stage, done, 10)
        for stage in ("judging the live version", "training", "judging the candidate", "deciding")
        for done in (0, 5)
    ]
    assert told == [None, None, None, 10.0 + 20.0, None, 10.0, None, None]
