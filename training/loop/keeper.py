"""What is kept of a running training: its states, its weights, and the best of them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from accelerate import Accelerator

from icmformer import save_checkpoint
from training.loop.monitor import Monitor
from training.loop.optimization import require_finite
from training.loop.processes import StopRequested
from training.loop.recipe import Recipe
from training.loop.training_state import TrainingState, has_state
from training.loop.validation import Validation
from training.provenance import Provenance

LATEST = "latest.safetensors"  # the averaged weights of the newest state


@dataclass
class Keeper:
    """Writes into the run folder, in the main process alone.

    Attributes:
        recipe: of the training.
        origin: code and hardware, as they were when it began.
        accelerator: of this process.
        validation: what is looked at now and then; None looks at nothing.
        monitor: told what was seen.
        saved: samples that the newest state in the folder has seen; None without it or its weights.
        interrupt: called between two objects of a look; raises StopRequested to end it there.
    """

    recipe: Recipe
    origin: Provenance
    accelerator: Accelerator
    validation: Validation | None
    monitor: Monitor
    saved: int | None
    interrupt: Callable[[], None]

    def after_step(self, state: TrainingState) -> None:
        """Write and look, where the recipe says so.

        Raises:
            RecipeError: if the training has diverged.
        """
        if self._ends(state, 1):
            self._require_finite(state)
        state.look_due = self.validation is not None and self._ends(
            state, self.validation.options.every
        )
        if state.look_due or self._ends(state, self.recipe.checkpoint_every):
            # Before the look, which takes minutes and may fail: what was trained must not hang on
            # it.
            self._save(state)
        self.look_if_due(state)

    def look_if_due(self, state: TrainingState) -> None:
        """Look at what a state that was just written, or continued from, has not been told yet."""
        if self.validation is None or not state.look_due:
            return
        if self.accelerator.is_main_process:
            self._look(state, self.validation)
        self.accelerator.wait_for_everyone()

    def at_end(self, state: TrainingState) -> None:
        """Write what is not written yet; a training that was finished before is left as it is.

        Raises:
            RecipeError: if the training has diverged.
        """
        if state.samples != self.saved:
            self._require_finite(state)
            self._save(state)
        self.accelerator.wait_for_everyone()

    def _ends(self, state: TrainingState, epochs: int) -> bool:
        """Say whether a stretch of so many epochs ends here, or the training."""
        stretch = epochs * self.recipe.epoch
        return state.samples % stretch == 0 or state.samples == self.recipe.samples

    def _require_finite(self, state: TrainingState) -> None:
        """Stop a training that has diverged, before it writes anything over what was good."""
        run = self.recipe.run
        left = f"; the last state in {run} is from before" if has_state(run) else ""
        require_finite(state.network, f"{state.samples} samples", left)

    def _look(self, state: TrainingState, validation: Validation) -> None:
        """Measure the averaged weights, keep them if they are the best so far, and note it."""
        try:
            look = validation.look(
                state.average, self.recipe.size_at(state.samples), self.interrupt
            )
        except StopRequested:
            return  # the run looks when it goes on
        state.network.train()
        self.monitor.look(state.samples, look)
        if look.quality() > state.best:
            state.best = look.quality()
            self._save_weights(state, "best.safetensors")
        state.look_due = False
        state.save(self.recipe)

    def _save(self, state: TrainingState) -> None:
        if self.accelerator.is_main_process:
            # In this order: where there is a state, there are weights.
            self._save_weights(state, LATEST)
            state.save(self.recipe)
        self.saved = state.samples

    def _save_weights(self, state: TrainingState, name: str) -> None:
        about = {
            "samples": state.samples,
            "recipe": self.recipe.model_dump(mode="json"),
            **asdict(self.origin),
        }
        save_checkpoint(state.average, self.recipe.run / name, provenance=about)
