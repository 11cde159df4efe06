"""The page on which an annotator works, and what one does there with mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Response


@dataclass(frozen=True)
class Answer:
    """One interactive request of the page: the regions it sent and those it got back."""

    asked: list[dict[str, Any]]
    regions: list[dict[str, Any]]


class LabelingPage:
    """One task, open in the browser."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def open(self, project: int, task: int) -> None:
        """Go to the task and wait until image and tools are there."""
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}")
        self.page.locator(".lsf-label").first.wait_for()
        self.page.locator("canvas").last.wait_for()
        self._wait_until_laid_out()

    def turn_on_auto_annotation(self, tool: str | None = None) -> None:
        """Move the switch below the image and take the magic tool, or the one of this name."""
        self.page.get_by_text("Auto-Annotation", exact=True).click()
        magic = self.page.locator(".lsf-tool_smart")
        if tool is None:
            magic.first.click()
        else:
            magic.first.hover()
            self.page.locator(f'.lsf-tool_smart[aria-label="{tool}"]').click()

    def keep_labels_chosen(self) -> None:
        """Turn on "Keep label selected after creating a region", for what is opened from now on."""
        settings = "JSON.stringify({continuousLabeling: true})"
        self.page.evaluate(f"localStorage.setItem('labelStudio:settings', {settings})")

    def choose(self, label: str, group: int = 0) -> None:
        """Pick a label of the first, second, … group of labels on the page."""
        self.page.locator(".lsf-labels").nth(group).get_by_text(label, exact=True).click()

    def click(self, x: float, y: float, *, negative: bool = False) -> Answer:
        """Click at a fraction of width and height of the image, and wait for the answer."""
        with self.answers(1) as answers:
            self.press(x, y, negative=negative)
        return answers[0]

    def press(self, x: float, y: float, *, negative: bool = False) -> None:
        """Click without waiting for anything."""
        if negative:
            self.page.keyboard.down("Alt")
        self.page.mouse.click(*self._on_screen(x, y))
        if negative:
            self.page.keyboard.up("Alt")

    def drag_box(self, corner: tuple[float, float], opposite: tuple[float, float]) -> Answer:
        """Draw a rectangle between two corners and wait for the answer."""
        with self.answers(1) as answers:
            self.page.mouse.move(*self._on_screen(*corner))
            self.page.mouse.down()
            # the editor takes a drag for one only after a few moves
            self.page.mouse.move(*self._on_screen(*opposite), steps=10)
            self.page.mouse.up()
        return answers[0]

    def undo(self) -> None:
        self.page.get_by_test_id("bottombar-undo-button").click()

    def let_go(self) -> None:
        """Unselect everything, the label too."""
        self.page.keyboard.press("Escape")

    def accept(self) -> None:
        """Take the suggested mask with the tick in the bar below the image."""
        tick = self.page.get_by_test_id("bottombar-accept-suggestions-button")
        tick.click()
        tick.wait_for(state="detached")

    def suggestions(self) -> int:
        """How many masks the page offers to accept."""
        offer = self.page.locator(".lsf-auto-accept__info")
        return int(offer.inner_text().split()[0]) if offer.count() else 0

    def wait_for_suggestion(self) -> None:
        self.page.locator(".lsf-auto-accept__info").wait_for()

    def regions(self) -> list[str]:
        """The labels in the list of regions at the right."""
        return self.page.locator(".lsf-outliner-item__title").all_inner_texts()

    def submit(self) -> None:
        """Save the annotation and wait until Label Studio has it."""
        with self.page.expect_response(
            lambda answer: "/annotations" in answer.url and answer.request.method == "POST"
        ) as saved:
            self.page.get_by_test_id("bottombar-submit-button").click()
        assert saved.value.ok, saved.value.text()

    def picture(self) -> bytes:
        """What is drawn where the image is, as PNG."""
        return self.page.screenshot(clip=self._image_box())

    def keep_picture(self, path: Path) -> None:
        """Keep the whole page for people to look at."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)

    @contextmanager
    def answers(self, count: int) -> Iterator[list[Answer]]:
        """Wait, at the end, for the answers to so many interactive requests made inside."""
        answers: list[Answer] = []

        def enough(response: Response) -> bool:
            if "/interactive-annotating" in response.url:
                received.append(response)
            return len(received) == count

        received: list[Response] = []
        with self.page.expect_response(enough):
            yield answers
        answers += [read_answer(response) for response in received]

    def _on_screen(self, x: float, y: float) -> tuple[float, float]:
        box = self._image_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def _image_box(self) -> Any:
        return self.page.locator("canvas").last.bounding_box()

    def _wait_until_laid_out(self) -> None:
        """The canvas grows a few times before it has the place where it stays."""
        before = None
        while (now := self._image_box()) != before or now is None:
            before = now
            self.page.wait_for_timeout(500)


def read_answer(response: Response) -> Answer:
    body = response.json()
    assert "errors" not in body, body
    return Answer(response.request.post_data_json["context"]["result"], body["data"]["result"])
