"""Which versions wait for a person, and which were overtaken by what went live meanwhile."""

import re
from functools import partial

from ml_backend.learning.learning_facts import version_list
from ml_backend.learning.projects import ProjectNews
from tests.ml_backend.web.pages.reading import FORM, page
from tests.training.disc_project import PROJECT
from training.errors import FileStoreError
from training.store.live_pointer import SITE, Mover, pin, promote, roll_back, unpin
from training.store.model_versions import Candidate
from training.store.stored_files import StoredFiles
from training.store.sweep import sweep
from training.store.version_decisions import choose, decline

GATE = Mover("gate", "better")


def publish(learning, project, origin, verdict, compared_with=1):
    versions = learning.stores.versions
    return versions.publish(
        Candidate(
            f"{project} {origin}",
            versions.checkpoint(1),
            project=project,
            verdict=verdict,
            scores={"compared_with": compared_with},
        )
    )


def with_fact(learning, project, fact):
    return {row["version"] for row in version_list(learning, project)["versions"] if row[fact]}


def test_a_better_version_that_was_not_promoted_waits_for_a_decision(learning):
    versions, project = learning.stores.versions, "6.1"
    versions.move(partial(pin, project=project, mover=Mover("ann", "")))
    better, unsure = (publish(learning, project, word, word) for word in ("promote", "ask"))
    publish(learning, project, "keep", "keep")
    assert not versions.promote_if_live(project, better, 1, GATE)
    assert with_fact(learning, project, "undecided") == {better, unsure}
    versions.move(partial(decline, project=project, number=unsure, mover=Mover("ann", "")))
    assert with_fact(learning, project, "undecided") == {better}
    assert with_fact(learning, project, "superseded") == set()


def test_what_one_project_makes_of_a_version_that_all_share_is_no_answer_elsewhere(
    client, learning
):
    versions = learning.stores.versions
    for key in ("14.1", "15.1"):
        learning.projects.remember(key, ProjectNews("Shares the starter"))
    versions.move(
        partial(
            choose,
            project="14.1",
            number=publish(learning, "14.1", "unsure", "ask"),
            mover=Mover("ann", ""),
        )
    )
    body = {"move": "promote", "version": 1}
    assert client.post("/projects/14/live", data=body, headers=FORM).status_code == 303
    assert versions.live("14.1").own
    (starter,) = version_list(learning, "15.1")["versions"]
    assert (starter["version"], starter["answer"]) == (1, None)
    assert "somebody without a login" not in page(client, "/projects/15/versions/1")


def test_a_move_waits_for_a_store_that_is_away(client, learning, monkeypatch):
    """Another version would be no nearer: unlike damage, that ends by itself."""
    client.post("/api/projects/2/live", json={"move": "promote", "version": 2})

    def away(files, key):
        raise FileStoreError(f"{key} cannot be read: the bucket does not answer")

    for body in ({"move": "promote", "version": 1}, {"move": "rollback"}):
        with monkeypatch.context() as patch:
            patch.setattr(StoredFiles, "local_path", away)
            answer = client.post("/api/projects/2/live", json=body)
        assert answer.status_code == 503
        assert answer.json["error"].startswith("version 1 cannot be served: versions/")
        assert answer.json["error"].endswith("the bucket does not answer")
        assert learning.stores.versions.live(PROJECT).version == 2
    assert client.post("/api/projects/2/live", json={"move": "rollback"}).status_code == 200


def test_another_projects_version_that_serves_the_site_is_answered_by_its_own(learning):
    versions = learning.stores.versions
    number = publish(learning, "16.1", "unsure", "ask")
    versions.move(partial(choose, project=SITE, number=number, mover=Mover("ann", "")))
    versions.move(partial(choose, project="17.1", number=number, mover=Mover("bob", "")))
    assert versions.answers([number])[number].by == "ann"
    versions.move(partial(roll_back, project=SITE, mover=Mover("ann", "")))


def test_a_version_that_waits_for_no_decision_cannot_be_kept_from_going_live(client, learning):
    learning.projects.remember("18.1", ProjectNews("Nothing waits"))
    learning.stores.versions.move(
        partial(
            choose,
            project="18.1",
            number=publish(learning, "18.1", "unsure", "ask"),
            mover=Mover("ann", ""),
        )
    )
    not_better = publish(learning, "18.1", "worse", "keep")
    for number in (1, not_better):
        body = {"move": "keep", "version": number}
        answer = client.post("/api/projects/18/live", json=body)
        assert answer.status_code == 409
        assert f"version {number} waits for no decision" in answer.json["error"]
        assert client.get(f"/api/versions/{number}").json["answer"] is None


def test_the_button_that_goes_back_says_where_to(client, learning):
    versions, key = learning.stores.versions, "19.1"
    learning.projects.remember(key, ProjectNews("Back and forth"))
    ann = Mover("ann", "")

    def button():
        return re.findall(r">(Roll back[^<]*|Follow the site[^<]*)<", page(client, "/projects/19"))

    def move(act, project=key, **version):
        versions.move(partial(act, project=project, mover=ann, **version))

    assert button() == []
    move(pin)
    assert button() == [], "Unpin does the same"
    move(unpin)
    move(pin)
    assert button() == []
    move(promote, version=1)
    assert button() == ["Follow the site again (version 1)"]
    move(pin)
    assert button() == ["Follow the site again (version 1)"]
    newer = publish(learning, key, "newer", "ask")
    move(promote, SITE, version=newer)
    assert button() == [f"Follow the site again (version {newer})"]
    move(promote, version=newer)
    assert button() == ["Roll back to version 1"]
    move(roll_back, SITE)


def test_what_was_compared_with_what_is_no_longer_live_raises_no_alert(client, learning):
    versions, project = learning.stores.versions, "9.1"
    learning.projects.remember(project, ProjectNews("Overtaken"))
    waiting = [publish(learning, project, number, "ask") for number in range(3)]
    assert page(client, "/projects/9").count("waits for a decision</h2>") == 3
    versions.promote_if_live(project, publish(learning, project, "better", "promote"), 1, GATE)
    later = publish(learning, project, "later", "ask", versions.live(project).version)
    text = page(client, "/projects/9")
    assert text.count("waits for a decision</h2>") == 1
    assert f"Version {later} waits for a decision</h2>" in text
    assert text.count("compared with version 1, which is no longer live") == 3
    facts = client.get(f"/api/versions/{waiting[0]}").json
    assert (facts["undecided"], facts["superseded"]) == (False, True)
    assert with_fact(learning, project, "superseded") == set(waiting)


def test_a_superseded_version_can_be_made_live_and_waits_again_after_a_rollback(client, learning):
    versions, project = learning.stores.versions, "10.1"
    learning.projects.remember(project, ProjectNews("Back"))
    old, older = (publish(learning, project, word, "ask") for word in ("old", "older"))
    versions.promote_if_live(project, publish(learning, project, "better", "promote"), 1, GATE)
    text = page(client, f"/projects/10/versions/{old}")
    assert ">Promote<" in text
    assert 'class="main"' not in text
    assert "Keep the live version" not in text
    body = {"move": "promote", "version": old}
    assert client.post("/projects/10/live", data=body, headers=FORM).status_code == 303
    assert versions.live(project).version == old
    for _ in range(2):
        versions.move(partial(roll_back, project=project, mover=Mover("ann", "")))
    assert with_fact(learning, project, "undecided") == {older}


def test_what_was_swept_waits_no_more_and_is_not_offered(client, learning):
    versions, project = learning.stores.versions, "12.1"
    learning.projects.remember(project, ProjectNews("Tidy"))
    overtaken, _ = (publish(learning, project, word, "ask", 99) for word in ("old", "new"))
    sweep(learning.stores, newest_versions=1)
    assert client.get(f"/api/versions/{overtaken}").json["swept"] is True
    assert "weights deleted" in page(client, "/projects/12")
    assert f'name="version" value="{overtaken}"' not in page(client, "/projects/12")
    text = page(client, f"/projects/12/versions/{overtaken}")
    assert "Its weights were deleted" in text
    assert ">Promote<" not in text
    body = {"move": "promote", "version": overtaken}
    answer = client.post("/api/projects/12/live", json=body)
    assert (answer.status_code, answer.json["error"]) == (
        409,
        f"version {overtaken} cannot be served: its weights were deleted by sweep",
    )
    assert not versions.live(project).own


def test_what_was_swept_is_no_way_back_and_the_site_can_be_followed_again(client, learning):
    versions, project = learning.stores.versions, "16.1"
    learning.projects.remember(project, ProjectNews("Back"))
    own = [publish(learning, project, word, "keep") for word in ("first", "second", "third")]
    for number in own:
        versions.move(partial(promote, project=project, version=number, mover=GATE))
    sweep(learning.stores, newest_versions=1)
    assert f"Roll back to version {own[1]}" in page(client, "/projects/16")
    answer = client.post("/api/projects/16/live", json={"move": "rollback"})
    assert answer.status_code == 200, answer.text
    assert "Follow the site again (version 1)" in page(client, "/projects/16")
    answer = client.post("/projects/16/live", data={"move": "rollback"}, headers=FORM)
    assert answer.status_code == 303, answer.text
    assert not versions.live(project).own
