"""How tests read the pages."""

from tests.training.disc_project import PROJECT
from tests.waiting import wait_until
from training.store.model_versions import version_name

FORM = {"Sec-Fetch-Site": "same-origin"}  # what a browser says of a form of the page itself


def look(learning, pointer):
    """Let answers come from what is live; one look may be too short to load it."""
    versions = learning.stores.versions

    def is_served():
        pointer.refresh()
        live = versions.get(versions.live(PROJECT).version)
        return pointer.live(PROJECT).name == version_name(live)

    wait_until(is_served)


def page(client, path):
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return " ".join(answer.text.split())
