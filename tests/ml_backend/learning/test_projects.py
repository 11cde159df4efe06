"""What is kept of projects: titles, and what came of comparisons."""

import pytest

from ml_backend.learning.projects import ProjectNews, ProjectRow, Projects
from training.store.database import Database

KEY = "2.1795327560"


@pytest.fixture
def projects(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    projects = Projects(database)
    projects.remember(KEY, ProjectNews(title="Cells"))
    yield projects
    database.close()


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Cells", "Cells"),
        (" Cells ", " Cells "),
        ("", "Project 2"),
        (" \t\u00a0", "Project 2"),
        ("\u200b\u2060", "Project 2"),
    ],
)
def test_a_title_that_nobody_sees_is_none(title, shown):
    assert ProjectRow(key=KEY, number="2", title=title).shown_title == shown


def test_what_a_comparison_came_to_may_be_any_words(projects):
    words = "a comparison that was asked for at noon UTC is to come or under way; who knows"
    projects.ask_to_reconcile(KEY)
    projects.not_reconciled(projects.find(KEY), words)
    projects.reconciled(projects.find(KEY), words)
    row = projects.find(KEY)
    assert (row.told, row.is_reconcile_asked_for) == (words, False)


def test_a_failure_hides_neither_what_the_last_comparison_found_nor_a_failure_the_next(projects):
    def told(change, words):
        change(projects.find(KEY), words)
        return projects.find(KEY).told

    assert told(projects.not_reconciled, "no token") == "the last try failed: no token"
    assert told(projects.reconciled, "24 compared") == "24 compared"
    at = projects.find(KEY).reconciled_at
    failed = told(projects.not_reconciled, "refused")
    assert failed == "24 compared; a later try failed: refused"
    assert told(projects.not_reconciled, "away") == "24 compared; a later try failed: away"
    assert projects.find(KEY).reconciled_at == at
    assert told(projects.reconciled, "25 compared") == "25 compared"


def test_of_a_forgotten_project_no_failure_is_left(projects):
    before = projects.find(KEY)
    projects.not_reconciled(before, "refused")
    projects.forget(KEY)
    projects.remember(KEY, ProjectNews(title="Cells"))
    assert projects.find(KEY).told == ""
    projects.forget(KEY)
    projects.not_reconciled(before, "forgotten meanwhile")
    projects.remember(KEY, ProjectNews(title="Cells"))
    assert projects.find(KEY).told == ""


def test_a_forgotten_project_is_met_anew_as_one_that_is_connected(projects):
    projects.not_reconciled(projects.find(KEY), "deleted in Label Studio", is_gone=True)
    assert projects.find(KEY).state == "gone"
    projects.not_reconciled(projects.find(KEY), "away")
    assert projects.find(KEY).state == "gone"
    projects.forget(KEY)
    projects.remember(KEY, ProjectNews(title="Cells"))
    assert projects.find(KEY).state == "connected"


def test_a_number_means_the_newest_project_that_is_not_gone(projects):
    newer = "2.1795586760"
    projects.remember(newer, ProjectNews(title="of a fresh installation"))
    assert projects.named("2").key == newer
    projects.not_reconciled(projects.find(newer), "another one now", is_gone=True)
    assert (projects.named("2").key, projects.named(newer).key) == (KEY, newer)
    projects.not_reconciled(projects.find(KEY), "deleted", is_gone=True)
    assert projects.named("2").key == newer


def test_who_asks_again_while_a_comparison_runs_is_not_answered_by_it(projects):
    projects.ask_to_reconcile(KEY)
    before = projects.find(KEY)
    projects.ask_to_reconcile(KEY)
    projects.reconciled(before, "24 compared")
    assert projects.find(KEY).is_reconcile_asked_for
    projects.reconciled(projects.find(KEY), "24 compared")
    assert not projects.find(KEY).is_reconcile_asked_for


def test_nothing_is_asked_of_a_project_that_was_never_seen(projects):
    projects.ask_to_reconcile("7.8")
    projects.remember("7.8", ProjectNews(title="seen later"))
    assert not projects.find("7.8").is_reconcile_asked_for


def test_who_remembers_something_is_told_all_that_is_known(projects):
    projects.ask_to_reconcile(KEY)
    row = projects.remember(KEY, ProjectNews(hostname="http://ls:8080"))
    told = (row.title, row.hostname, row.is_reconcile_asked_for)
    assert told == ("Cells", "http://ls:8080", True)
    assert projects.remember(KEY, ProjectNews()).seen_at == row.seen_at
