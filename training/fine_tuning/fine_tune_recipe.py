"""What a fine-tuning run may choose. The defaults are in recipes/fine_tune.yaml."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field, model_validator

from training.datasets.object_sampling import ObjectSampling
from training.device_names import DeviceName
from training.fine_tuning.adaptation import Adaptation
from training.loop.augmentation import LONGEST_SIDE
from training.loop.recipe import IterativeClicks, Loss, Optimization, check_slots
from training.loop.sample_stream import Sampling
from training.recipe_files import STRICT, change, override, read_settings, validate

DEFAULT = Path(__file__).parents[1] / "recipes" / "fine_tune.yaml"


class FineTuneRecipe(BaseModel):
    """A fine-tuning run; lengths are in steps, one epoch of `optimization` is one step.

    Attributes:
        seed: of samples and clicks.
        adaptation: which weights may change; see `training.fine_tuning.adaptation`.
        rank: of low-rank updates.
        size: of the square crop in pixels; None is the network's own.
        max_side: images with a longer side are cut into parts of at most so many pixels, around
            their objects, before training; see `training.datasets.large_images.CloseUps`.
        batch_size: samples a step.
        steps: the longest a run can be.
        replay: share of the samples that come from the retention set; on them the network is to
            answer as it did before.
        replay_weight: of that against learning what was accepted.
        replay_sampling: like `sampling`, of the images that are replayed.
        weight_interpolation: how far from the weights before to those that were trained it ends.
        specialise: whether the network it descends from goes on answering on images that are not
            like the accepted ones; see `icmformer.specialised`. Takes the memory of two.
        objects: how targets are put together.
        sampling, iterative_clicks, loss: as in a training recipe.
        optimization: likewise, but that batches are computed in one piece.
        validate_every: steps between two looks at the validation images.
        patience: looks without improvement after which the run ends.
        validation_objects: most objects that are looked at.
        validation_clicks: on each of them.
        device: "auto" is CUDA where there is one; or "cpu", "cuda", "cuda:1".
    """

    model_config = STRICT

    seed: int = Field(ge=0, lt=2**63)
    adaptation: Adaptation
    rank: int = Field(ge=1)
    size: int | None = Field(ge=32)
    max_side: int = Field(ge=64, le=LONGEST_SIDE)
    batch_size: int = Field(ge=1)
    steps: int = Field(ge=1)
    replay: float = Field(ge=0, lt=1)
    replay_weight: float = Field(ge=0)
    replay_sampling: Sampling
    weight_interpolation: float = Field(gt=0, le=1)
    specialise: bool
    objects: ObjectSampling
    sampling: Sampling
    iterative_clicks: IterativeClicks
    loss: Loss
    optimization: Optimization
    validate_every: int = Field(ge=1)
    patience: int = Field(ge=1)
    validation_objects: int = Field(ge=1)
    validation_clicks: int = Field(ge=1)
    device: DeviceName

    @property
    def replayed(self) -> int:
        """How many of a step's samples come from the retention set: at least one, unless none."""
        return max(round(self.replay * self.batch_size), 1) if self.replay else 0

    @model_validator(mode="after")
    def _something_accepted_is_learned(self) -> "FineTuneRecipe":
        if self.replayed >= self.batch_size:
            raise ValueError(
                f"replay {self.replay:g} leaves none of batch_size {self.batch_size} for what was "
                "accepted: lower the one or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _batches_are_whole(self) -> "FineTuneRecipe":
        if self.optimization.accumulate != 1:
            raise ValueError(
                "optimization.accumulate is for trainings: where memory does not suffice to "
                "fine-tune, choose a smaller batch_size or size"
            )
        return self

    @model_validator(mode="after")
    def _clicks_have_room(self) -> "FineTuneRecipe":
        check_slots(self.sampling, self.iterative_clicks)
        check_slots(self.replay_sampling, self.iterative_clicks)
        return self


def load_fine_tune_recipe(
    changes: Path | None = None, overrides: Sequence[str] = ()
) -> FineTuneRecipe:
    """Read the recipe that comes with the project, and what is changed about it.

    Args:
        changes: YAML file with the settings that differ.
        overrides: `key=value`, keys with dots, values as in YAML.

    Raises:
        RecipeError: for a file that cannot be read and for every unknown or impossible setting.
    """
    values = read_settings(DEFAULT)
    if changes is not None:
        change(values, read_settings(changes))
    override(values, overrides)
    return validate(FineTuneRecipe, values, (changes or DEFAULT).name)
