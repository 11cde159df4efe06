"""The pages in a browser: narrow windows, and watching a job without pressing anything."""

import pytest

from ml_backend.learning.assembly import open_learning
from ml_backend.learning.projects import ProjectNews
from ml_backend.settings import Settings
from tests.e2e.conftest import ARTEFACTS
from tests.training.disc_project import PROJECT, accept
from training.moments import now
from training.store.samples import Annotation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def pages(start_backend, checkpoint):
    backend = start_backend()
    learning = open_learning(Settings(model_dir=backend.data, checkpoint=checkpoint))
    learning.projects.remember(PROJECT, ProjectNews("W" * 200, "<View/>"))
    accept(learning.samples, 1)
    for number in range(30, 51):
        learning.samples.replace(
            Annotation(PROJECT, number, number, now(), "unreadable", notes=(f"Note {number}",))
        )
    learning.jobs.request(PROJECT, "Start training in Label Studio, " + "again" * 40)
    log = learning.job_folders.log(learning.jobs.get(1))
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(150)))
    learning.close()
    return backend.url


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 390, "height": 700})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", ["/", "/projects/", "/projects/2", "/projects/2/versions/1"])
def test_a_window_shows_the_whole_width_of_names_without_a_space(pages, tab, path, width):
    tab.set_viewport_size({"width": width, "height": 700})
    tab.goto(pages + path)
    tab.screenshot(path=ARTEFACTS / f"{width}{path.replace('/', '-')}.png", full_page=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    scrolls = "[...document.querySelectorAll('section')].some(e => e.scrollWidth > e.clientWidth)"
    assert not tab.evaluate(scrolls)


def test_a_long_log_is_reached_by_keyboard_and_printed_whole(pages, tab):
    tab.goto(f"{pages}/projects/{PROJECT}/jobs/1")
    log = tab.get_by_role("region", name="Log")
    overflows = "log => log.scrollHeight > log.clientHeight"
    assert log.evaluate(overflows)
    log.focus()
    assert log.evaluate("log => log === document.activeElement")
    tab.emulate_media(media="print")
    assert not log.evaluate(overflows)


def test_what_is_folded_is_printed(pages, tab):
    tab.goto(f"{pages}/projects/{PROJECT}")
    notes = tab.locator("details", has_text="1 more").get_by_text("Note ")
    assert notes.count() == 1
    assert not notes.is_visible()
    tab.emulate_media(media="print")
    assert notes.is_visible()


def test_whoever_asks_for_a_job_sees_it_go_on(pages, tab):
    address = f"{pages}/projects/{PROJECT}"
    tab.goto(address)
    tab.click("text=Fine-tune now")
    tab.wait_for_url(f"{address}#jobs")
    for _ in range(2):  # the page loads itself anew, and once more
        with tab.expect_navigation(url=address, timeout=60_000):
            pass
