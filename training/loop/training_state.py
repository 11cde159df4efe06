"""Checkpoints of a running training: written whole or not at all, the newest few kept."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from icmformer import ICMFormer
from training.atomic_files import appearing
from training.errors import RecipeError
from training.loop.recipe import Recipe

logger = logging.getLogger(__name__)

_PATTERN = "state-*.pt"


def save_state(folder: Path, samples: int, state: dict[str, Any], keep: int) -> None:
    """Write the state after so many samples and forget the oldest ones.

    Args:
        folder: made if missing.
        samples: seen so far; orders the files.
        state: tensors and plain data only.
        keep: how many files stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{samples:012d}.pt"
    # One name, so that the next state replaces what a killed process left: it may be gigabytes.
    unfinished = folder / "unfinished"
    with appearing(path, unfinished) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch closes its archive where the disk is full, finds it too short, and says that.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink()


def has_state(folder: Path) -> bool:
    """Return whether a training in this folder is continued, not begun."""
    return any(folder.glob(_PATTERN))


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the newest state on the CPU, or None if there is none.

    Raises:
        RecipeError: if its file cannot be read.
    """
    files = sorted(folder.glob(_PATTERN))
    if not files:
        return None
    try:
        state: dict[str, Any] = torch.load(files[-1], map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).partition("\n")[0]
        then = "continue from the one before" if len(files) > 1 else "begin anew"
        raise RecipeError(
            f"{files[-1]} cannot be read ({reason}): if it is damaged, delete it to {then}"
        ) from error
    return state


@dataclass
class TrainingState:
    """All that changes while a network is trained; chance does not, it follows from the step.

    Attributes:
        network: what is trained.
        average: the moving average of its weights, or the network itself.
        optimizer: with its moments.
        samples: seen so far.
        step: how often the weights have moved.
        measure: what validation measures by; "" without it, until a state is continued from.
        best: quality of the best weights by that measure; larger is better.
        look_due: whether validation is still to look at these weights.
        data: what it learns from, or learned from before it was continued; see `contents`.
    """

    network: ICMFormer
    average: ICMFormer
    optimizer: torch.optim.Optimizer
    samples: int = 0
    step: int = 0
    measure: str = ""
    best: float = float("-inf")
    look_due: bool = False
    data: list[tuple[str, int]] = field(default_factory=list)

    def restore(self, state: dict[str, Any], recipe: Recipe, changes: str) -> None:
        """Continue from a state; what was best by another measure is forgotten.

        Args:
            state: as `load_state` returned it.
            recipe: of what is to be continued, perhaps changed.
            changes: by the recipe, in words to append; see `changed_settings`.

        Raises:
            RecipeError: if the state does not fit.
        """
        folder = recipe.run
        try:
            self.network.load_state_dict(state["network"])
            if self.average is not self.network:
                self.average.load_state_dict(state["average"])
            _load_moments(self.optimizer, state["optimizer"])
            self.samples, self.step = state["samples"], state["step"]
            self.look_due, self.data = state["look_due"], state["data"]
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise RecipeError(
                f"{folder} holds the state of another network, or of another kind of optimiser:"
                " choose another run folder, or start from its weights with network.checkpoint"
            ) from error
        found = state["measure"]
        if self.measure in ("", found):  # without validation, it is kept for when there is one
            self.measure, self.best = found, state["best"]
        if self.samples < recipe.samples:
            logger.info("continuing %s after %d samples%s", folder, self.samples, changes)
        else:
            logger.warning(
                "%s is finished already, after %d samples%s: nothing is trained; for another"
                " training give another run=FOLDER, to prolong this one a longer last stage",
                folder, self.samples, changes,
            )  # fmt: skip

    def save(self, recipe: Recipe) -> None:
        """Write the state, and what it was trained by; see `save_state` and `restore`."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "samples": self.samples,
            "step": self.step,
            "best": self.best,
            "measure": self.measure,
            "look_due": self.look_due,
            "data": self.data,
            "config": self.network.config.to_dict(),
            "recipe": recipe.model_dump(mode="json"),
        }
        save_state(recipe.run, self.samples, state, recipe.keep)


def _load_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore what an optimiser has gathered; its settings stay those of the recipe."""
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, wanted in zip(optimizer.param_groups, settings, strict=True):
        group.update(wanted)
