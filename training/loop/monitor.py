"""What a person sees of a training: a progress bar, curves and pictures in TensorBoard, a log."""

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.loop.validation import Look
from training.progress import progress

logger = logging.getLogger(__name__)
_LOG_EVERY_STEPS = 20


class Monitor:
    """Shows progress in one process and stays silent in the others.

    Args:
        run: folder of the training; curves lie in its `curves`.
        total: samples of the whole training.
        seen: samples already seen; curves beyond are forgotten.
        silent: show nothing.
    """

    def __init__(self, run: Path, total: int, seen: int, silent: bool) -> None:
        self._bar: tqdm[Any] = progress(total=total, initial=seen, unit="sample", disable=silent)
        self._curves = None if silent else SummaryWriter(run / "curves", purge_step=seen + 1)
        self._recent: dict[str, list[torch.Tensor]] = {}
        self._seen, self._rate = seen, 0.0

    def step(self, seen: int, rate: float, **values: torch.Tensor) -> None:
        """Note one training step.

        Args:
            seen: samples seen so far.
            rate: the learning rate of the step.
            **values: scalars; they stay on their device until they are shown as means.
        """
        if self._curves is None:
            return
        self._bar.update(seen - self._bar.n)
        self._seen, self._rate = seen, rate
        for name, value in values.items():
            self._recent.setdefault(name, []).append(value)
        if len(self._recent["loss"]) == _LOG_EVERY_STEPS:
            self._show_means(self._curves)

    def look(self, seen: int, look: Look) -> None:
        """Note what validation saw."""
        assert self._curves is not None
        for name, card in look.cards.items():
            scores = {f"NoC{100 * t:.0f}": card.noc(t) for t in (0.80, 0.85, 0.90)}
            for clicks, mean in enumerate(card.mean_ious()[:5], start=1):
                scores[f"mIoU@{clicks}"] = float(mean)
            for key, value in scores.items():
                self._curves.add_scalar(f"{name}/{key}", value, seen)
            shown = " ".join(f"{key} {value:.3f}" for key, value in scores.items())
            logger.info("%d samples, %s: %s", seen, name, shown)
        if look.pictures is not None:
            self._curves.add_image("clicks 1, 2, 3", look.pictures, seen, dataformats="HWC")
        self._curves.flush()

    def close(self) -> None:
        """Finish bar and curves, which end with the last step."""
        with closing(self._bar):
            if self._curves is not None:
                with closing(self._curves):
                    if self._recent:
                        self._show_means(self._curves)

    def _show_means(self, curves: SummaryWriter) -> None:
        """Show what the steps since the last time were like."""
        means = {name: torch.stack(kept).mean().item() for name, kept in self._recent.items()}
        self._recent.clear()
        self._bar.set_postfix({name: f"{mean:.3f}" for name, mean in means.items()})
        for name, mean in (means | {"learning_rate": self._rate}).items():
            curves.add_scalar(f"train/{name}", mean, self._seen)
