"""What browsers and screen readers are given."""

import html
import re
from collections import Counter
from datetime import timedelta
from functools import partial
from html.parser import HTMLParser

import pytest

from ml_backend.learning.projects import ProjectNews
from ml_backend.web import learning_pages
from tests.ml_backend.web.pages.reading import FORM, look, page
from tests.training.disc_project import PROJECT
from training.moments import now
from training.store.live_pointer import Mover, promote
from training.store.model_versions import Candidate

PAGES = ["/", "/projects/", "/projects/2", "/projects/2/versions/2", "/projects/2/jobs/1"]
ENDS_A_PARAGRAPH = {"div", "figure", "form", "h1", "h2", "ol", "p", "pre", "section", "table", "ul"}
HAS_NO_END = {"br", "circle", "img", "input", "line", "link", "meta", "rect"}


class Outline(HTMLParser):
    """Notes what a browser would silently put elsewhere, and how buttons are called."""

    def __init__(self):
        super().__init__()
        self.open, self.problems, self.ids, self.names = [], [], Counter(), Counter()
        self.button = ""

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.ids.update([facts["id"]] if "id" in facts else [])
        if tag in ENDS_A_PARAGRAPH and "p" in self.open:
            self.problems.append(f"<{tag}> in a paragraph")
        if tag in ("style", "meta", "title") and "head" not in self.open and "svg" not in self.open:
            self.problems.append(f"<{tag}> outside the head")
        if tag == "figcaption" and self.open[-1] != "figure":
            self.problems.append("a caption of no figure")
        if tag in ("img", "progress") and not (facts.get("alt") or facts.get("aria-label")):
            self.problems.append(f"<{tag}> without a name")
        if tag == "button":
            self.button = facts.get("aria-label", "")
        if tag not in HAS_NO_END:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_data(self, data):
        if self.open and self.open[-1] == "button":
            self.names[self.button or data.strip()] += 1

    def handle_endtag(self, tag):
        if self.open[-1] != tag:
            self.problems.append(f"</{tag}> ends <{self.open[-1]}>")
        else:
            self.open.pop()


def outline(client, path):
    found = Outline()
    found.feed(client.get(path).text)
    return found


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_valid_and_their_buttons_say_what_they_do(client, learning, path):
    to_promote = partial(promote, project=PROJECT, version=2, mover=Mover("ann", ""))
    learning.stores.versions.move(to_promote)
    found = outline(client, path)
    assert found.problems == []
    assert found.open == []
    assert [one for one, times in (found.ids + found.names).items() if times > 1] == []


def test_a_page_that_waits_is_loaded_anew_not_scrolled(client, learning):
    answer = client.post("/projects/2/jobs", headers=FORM)
    assert answer.location == "/projects/2#jobs"
    assert 'http-equiv="refresh" content="15; url=/projects/2"' in page(client, "/projects/2")
    (newest, *_) = learning.jobs.of_project(PROJECT)
    where = f"/projects/2/jobs/{newest.id}"
    assert f'content="5; url={where}"' in page(client, where)
    assert outline(client, "/projects/2").problems == []
    learning.jobs.cancel(newest.id)


def test_a_page_that_is_loaded_anew_can_be_kept_still_at_once_and_past_its_buttons(
    client, learning
):
    job = learning.jobs.request(PROJECT, "button")
    text = page(client, "/projects/2")
    assert text.index('<a href="?still">Keep it still</a>') < text.index("<nav")
    text = page(client, "/projects/2?still")
    assert ("http-equiv" in text, "Loaded anew" in text) == (False, False)
    assert '<a href="?">Load it anew every 15 seconds</a>' in text
    for action in ("jobs", f"jobs/{job}/cancel"):
        address = f"/projects/2/{action}?still="
        assert f'action="{address}"' in text.replace("2.1795327560", "2")
        assert client.post(address, headers=FORM).location == "/projects/2?still=#jobs"
    assert "Kept still" not in page(client, "/projects/2?still"), "nothing is to come"


def test_a_page_is_loaded_anew_until_answers_come_from_what_is_live(
    client, learning, pointer, monkeypatch
):
    says, anew = "answers come from starter-", 'content="5; url=/projects/2"'
    text = page(client, "/projects/2")
    assert (says in text, "http-equiv" in text) == (False, False)
    client.post("/projects/2/live", data={"move": "promote", "version": 2}, headers=FORM)
    text = page(client, "/projects/2")
    assert (says in text, anew in text) == (True, True)
    assert "http-equiv" not in page(client, "/projects/2?before=9"), "that would lead away from it"
    later = now() + timedelta(minutes=2)
    with monkeypatch.context() as patch:
        patch.setattr(learning_pages, "now", lambda: later)
        text = page(client, "/projects/2")
    rarely = anew.replace("5;", "15;")
    assert (says in text, rarely in text) == (True, True), "it may never load"
    look(learning, pointer)
    text = page(client, "/projects/2")
    assert (says in text, "http-equiv" in text) == (False, False)


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("/", "Status"),
        ("/projects/", "Projects"),
        ("/projects/2", "\u2068Discs\u2069"),
        ("/projects/2/versions/2", "v2-[0-9a-f]{8} · \u2068Discs\u2069"),
        ("/projects/2/jobs/1", "Job 1: finished · \u2068Discs\u2069"),
        ("/projects/2/jobs/no", "Not done"),
    ],
)
def test_the_title_of_a_tab_says_what_it_is_about_and_whose_page_it_is(client, path, about):
    title = re.search("<title>(.*)</title>", html.unescape(client.get(path).text))[1]
    assert re.fullmatch(f"{about} · iCMFormer backend", title)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/projects/2/", 200),
        ("/projects/2/jobs/abc", 404),
        ("/projects/2/nothing/at/all", 404),
    ],
)
def test_mistyped_addresses_lead_to_pages(client, path, status):
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert 'href="/projects/"' in answer.text


@pytest.mark.parametrize("button", ["live", "jobs", "jobs/1/cancel", "reconcile"])
def test_the_address_that_a_refused_button_leaves_leads_back_to_the_project(client, button):
    """A reload asks for it, or a bookmark, or a browser that comes back from a login."""
    answer = client.get(f"/projects/2/{button}")
    assert (answer.status_code, answer.location) == (303, "/projects/2")
    answer = client.put(f"/projects/2/{button}")
    assert (answer.status_code, answer.mimetype) == (405, "text/html")


def test_a_title_or_label_from_right_to_left_turns_nothing_else_round(client, learning):
    title, versions = "\u062e\u0644\u064a\u0629 \u202eodd", learning.stores.versions
    learning.projects.remember("23.1", ProjectNews(title))
    versions.publish(
        Candidate(
            "asks",
            versions.checkpoint(1),
            project="23.1",
            verdict="ask",
            scores={"compared_with": 1},
        )
    )
    job = learning.jobs.request("23.1", "button")
    for path in ("/", "/projects/", "/projects/23", "/projects/23/versions/1"):
        assert f"<bdi>{title}</bdi>" in page(client, path), path
    assert f"<bdi>{title}</bdi>" in page(client, f"/projects/23/jobs/{job}")
    learning.jobs.cancel(job)
    assert "<bdi>Object</bdi>: 24" in page(client, "/projects/2")


def test_a_change_that_rounds_to_nothing_has_no_minus(client, learning):
    versions = learning.stores.versions
    learning.projects.remember("24.1", ProjectNews("As good as before"))
    nothing = {"saved": -0.002, "saved_low": -0.2, "saved_high": -0.001, "share": 0.0004}
    change = {"live": 5.0, "candidate": 5.0, "objects": 20, "images": 9, **nothing}
    scores = {"compared_with": 1, "trained_on": 3, "threshold": 0.85, "held_out": change}
    number = versions.publish(
        Candidate("same", versions.checkpoint(1), project="24.1", verdict="keep", scores=scores)
    )
    text = page(client, f"/projects/24/versions/{number}")
    assert ">+0&nbsp;%</span>" in text
    assert "saved +0.00 clicks an object, 95 % -0.20 to +0.00" in text


@pytest.mark.parametrize(
    ("low", "high", "is_certain"),
    [(0.1, 2.0, True), (-2.0, -0.1, True), (-0.1, 2.0, False), (0.0, 0.0, True)],
)
def test_a_change_that_may_be_chance_says_so_in_words(client, learning, low, high, is_certain):
    versions = learning.stores.versions
    learning.projects.remember("25.1", ProjectNews("Perhaps better"))
    change = {"live": 6.0, "candidate": 3.0, "objects": 20, "images": 9, "share": 0.5}
    change |= {"saved": (low + high) / 2, "saved_low": low, "saved_high": high}
    scores = {"compared_with": 1, "trained_on": 3, "threshold": 0.85, "held_out": change}
    made = {"project": "25.1", "verdict": "ask", "scores": scores}
    number = versions.publish(Candidate(f"{low} {high}", versions.checkpoint(1), **made))
    assert ("(not certain)" not in page(client, f"/projects/25/versions/{number}")) is is_certain


@pytest.mark.parametrize(
    ("known", "side", "says"),
    [
        (None, None, None),
        ([2, 3], 9, "2 of the 3 held-out images; others are answered as before all fine-tuning"),
        ([0, 1], 9, "0 of the 1 held-out image; others are answered as before all fine-tuning"),
        ([3, 3], 29.75, "3 of the 3 held-out images</td>"),
    ],
)
def test_a_version_says_what_it_knows(client, learning, known, side, says):
    versions = learning.stores.versions
    learning.projects.remember("25.1", ProjectNews("Cells"))
    scores = {
        "compared_with": 1,
        "trained_on": 3,
        "known_held_out_images": known,
        "object_side": side,
    }
    number = versions.publish(
        Candidate(
            f"knows {known}",
            versions.checkpoint(1),
            project="25.1",
            verdict="keep",
            data_fingerprint="0" * 64,
            scores=scores,
        )
    )
    text = " ".join(page(client, f"/projects/25/versions/{number}").split())
    assert ("<th>Knows</th>" in text) == ("<th>Objects</th>" in text) == (says is not None)
    assert says is None or (says in text and f"at most {side:.0f} pixels long" in text)
