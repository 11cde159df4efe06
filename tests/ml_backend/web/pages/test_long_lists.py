"""A project after a year: a thousand jobs, five hundred versions, and a page that can be read."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import event, insert
from sqlalchemy.engine import Engine

from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.projects import ProjectNews
from tests.ml_backend.web.pages.reading import page
from training.moments import now
from training.store.version_rows import LiveMoveRow, VersionRow

JOBS, VERSIONS, MOVES = 1000, 500, 300


def job(project, number):
    return {
        "project": project, "reasons": ["20 new samples"], "state": "finished", "attempts": 1,
        "requested_at": now(), "worker": "w", "cancel": False, "stage": "", "done": 0, "total": 0,
        "result": "not better", "message": f"as good as job {number}",
    }  # fmt: skip


def version(project, number, live=1, parent=1):
    return {
        "origin": f"{project} {number}", "stem": "", "project": project, "parent": parent,
        "created_at": now(), "weights": "w", "description": "d", "weights_sha256": f"{number:08}",
        "description_sha256": "d", "recipe": {"steps": 200}, "verdict": "ask",
        "scores": {"compared_with": live, "trained_on": 3}, "reasons": [f"unsure {number}"],
    }  # fmt: skip


def move(project, number):
    return {
        "project": project, "sequence": number, "move": "promote", "version": 1, "pinned": False,
        "by": "ann", "reason": f"move {number}", "at": now() + timedelta(minutes=number),
    }  # fmt: skip


def fill(learning, project, jobs, versions, moves):
    learning.projects.remember(project, ProjectNews("A year"))
    with learning.stores.database.write() as session:
        session.execute(insert(JobRow), [job(project, n) for n in range(jobs)])
        session.execute(insert(VersionRow), [version(project, n) for n in range(versions)])
        session.execute(insert(LiveMoveRow), [move(project, n) for n in range(1, moves + 1)])


@pytest.fixture(scope="module")
def year(state):
    learning = state.extensions["icmformer"].learning
    fill(learning, "20.1", JOBS, VERSIONS, MOVES)
    fill(learning, "21.1", 20, 20, 20)
    numbers = [row.number for row in learning.stores.versions.usable_by("20.1")]
    return [number for number in numbers if number != 1]


@pytest.fixture
def asked():
    """The statements that reach the database."""
    statements, here = [], threading.get_ident()

    def watch(_connection, _cursor, statement, *_rest):
        # The backends of other tests may follow their live pointers still, from other threads.
        if statement != "BEGIN" and threading.get_ident() == here:
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", watch)
    yield statements
    event.remove(Engine, "before_cursor_execute", watch)


def test_a_page_is_no_larger_and_asks_no_more_after_a_year(client, year, asked):
    small = page(client, "/projects/21")
    after_weeks = len(asked)
    asked.clear()
    large = page(client, "/projects/20")
    assert len(asked) == after_weeks <= 60
    assert len(large) < 100_000
    # What was live is folded up to a hundred moves, and everything else is a link away.
    assert len(large) < 2 * len(small)
    assert large.count("<summary>88 more</summary>") == 1
    for anchor in ("samples", "jobs", "versions", "history"):
        assert f'href="#{anchor}"' in large
        assert f'id="{anchor}"' in large


def links(text, words):
    """Return where the links of these words lead."""
    return [part.rpartition('href="')[2].partition('"')[0] for part in text.split(words)[:-1]]


def test_earlier_jobs_are_links_away_one_after_the_other(client, year):
    seen, address = [], "/projects/20"
    while True:
        text = page(client, address)
        found = [int(part.partition("<")[0]) for part in text.split(">job ")[1:]]
        assert len(found) <= 12
        seen += found
        earlier = links(text, ">earlier jobs</a>")
        if not earlier:
            break
        (address,) = (link.partition("#")[0] for link in earlier)
    assert len(seen) == len(set(seen)) == JOBS
    assert seen == sorted(seen, reverse=True)
    assert links(text, ">newest jobs</a>") == ["/projects/20.1#jobs"]
    assert "newest versions" not in text


def test_so_are_earlier_versions_with_their_line_of_descent(client, year):
    text = page(client, "/projects/20")
    assert text.count('<svg class="lineage"') == 12
    (link,) = links(text, ">earlier versions</a>")
    assert link == f"/projects/20.1?versions_before={year[11]}#versions"
    text = page(client, f"/projects/20.1?versions_before={year[-2]}")
    assert f"unsure {VERSIONS - 1}" in text
    assert text.count('<svg class="lineage"') < 12
    assert "earlier versions" not in text
    assert '<circle class="node live" cx="14"' in text


def test_those_that_wait_for_a_decision_do_not_fill_the_page(client, year):
    text = page(client, "/projects/20")
    assert text.count("waits for a decision</h2>") == 3
    assert f"and {VERSIONS - 3 - 12} before these" in text


def test_programs_get_a_part_as_well_and_how_much_more_there_is(client, year):
    facts = client.get("/api/projects/20").json
    assert [row["version"] for row in facts["versions"]] == year[:100]
    assert (len(facts["jobs"]), facts["more_jobs"]) == (50, JOBS - 50)
    assert facts["more_versions"] == VERSIONS + 1 - 100  # with the starter
    assert (len(facts["moves"]), facts["more_moves"]) == (100, MOVES - 100)
    assert facts["undecided"] == year


def parts(client, path, kind, key, limit):
    """Return the keys of a whole list, which is asked for part by part."""
    seen, query = [], {"limit": limit}
    while True:
        answer = client.get(path, query_string=query).json
        seen += [row[key] for row in answer[kind]]
        assert len(answer[kind]) == min(limit, len(answer[kind]) + answer[f"more_{kind}"])
        if not answer[f"more_{kind}"]:
            return seen
        query["before"] = seen[-1]


def test_programs_get_the_whole_of_each_list_part_by_part(client, year):
    jobs = parts(client, "/api/projects/20/jobs", "jobs", "job", 300)
    assert (len(jobs), jobs) == (JOBS, sorted(set(jobs), reverse=True))
    versions = parts(client, "/api/projects/20/versions", "versions", "version", 150)
    assert versions == [*year, 1]
    moves = parts(client, "/api/projects/20/live", "moves", "sequence", 140)
    assert moves == list(range(MOVES, 0, -1))
    for list_of in ("jobs", "versions", "live"):
        answer = client.get(f"/api/projects/20/{list_of}?before={10**18 - 1}").json
        kind = "moves" if list_of == "live" else list_of
        assert len(answer[kind]) == 100
        assert client.get(f"/api/projects/20/{list_of}?before=0").json[kind] == []
    site = client.get("/api/site/live").json
    assert (site["live"]["version"], site["moves"][-1]["sequence"]) == (1, 1)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("projects/20/jobs?limit=0", '"limit" must be a whole number from 1 to 1000'),
        ("projects/20/versions?limit=1001", '"limit" must be a whole number from 1 to 1000'),
        ("projects/20/live?before=-1", '"before" must be a whole number'),
        ("site/live?before=", '"before" must be a whole number'),
        ("projects/20/jobs?berfore=1", "'berfore' does not belong here: the address may have "),
        ("projects/20?before=1", "the address may have no parameter at all"),
        ("projects?limit=1", "the address may have no parameter at all"),
    ],
)
def test_parameters_that_would_be_passed_over_are_refused(client, year, path, words):
    answer = client.get(f"/api/{path}")
    assert (answer.status_code, words in answer.json["error"]) == (400, True)
    assert client.post("/api/projects/20/jobs?limit=1", json={}).status_code == 400


@pytest.mark.parametrize("before", ["nonsense", "0", "-1", str(10**30), str(-(10**30))])
def test_no_address_breaks_the_page(client, year, before):
    page(client, f"/projects/20?before={before}&versions_before={before}")


def test_from_an_empty_part_a_link_leads_back(client, year):
    text = page(client, "/projects/20?before=1&versions_before=1")
    assert text.count("None before these.") == 2
    assert links(text, ">newest jobs</a>") == ["/projects/20.1#jobs"]
    assert links(text, ">newest versions</a>") == ["/projects/20.1#versions"]
