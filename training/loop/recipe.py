"""A training run as a YAML file: every setting has a name, and a name that is unknown stops it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from icmformer.config import ModelConfig
from icmformer.errors import ConfigError
from icmformer.precision import Precision
from icmformer.variants import variant_config
from training.clicks.iterative_clicks import Placement
from training.datasets.object_sampling import ObjectSampling
from training.errors import RecipeError
from training.home_paths import ExpandedPath, NameOrPath
from training.loop.sample_stream import Sampling
from training.loop.validation import ValidationOptions
from training.recipe_files import STRICT, override, read_settings, validate
from training.weights_file import stage_size

_Decay = Annotated[float, Field(ge=0, lt=1)]


class _Strict(BaseModel):
    model_config = STRICT


class Network(_Strict):
    """What is trained, and what it starts from.

    Attributes:
        name: one of `icmformer.MODEL_NAMES`.
        overrides: settings of `icmformer.ModelConfig` that differ.
        backbone_weights: ImageNet or MAE weights: a timm model name or a local file.
        checkpoint: weights of such a network to continue from, ours or the authors' (.pth).
    """

    name: str
    overrides: dict[str, Any] = {}
    backbone_weights: NameOrPath | None = None
    checkpoint: ExpandedPath | None = None

    @property
    def config(self) -> ModelConfig:
        """The numbers of the network."""
        return variant_config(self.name, **self.overrides)

    @model_validator(mode="after")
    def _can_be_built(self) -> "Network":
        try:
            _ = self.config
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self


class DataPart(_Strict):
    """One data set.

    Attributes:
        kind: how it is read; see the modules of these names in `training.datasets`.
        path: below `Data.root`.
        project: of `accepted` only: Label Studio's number of the project; all without it.
        weight: its share of the samples, relative to the other parts'.
        objects: how targets are put together.
        scores: file below `Data.root` that says how well each image is known already; see
            `training.datasets.image_scores`. Without it all images are drawn alike.
    """

    kind: Literal["image_folder", "sbd", "coco_lvis", "layered_folder", "accepted"] = "image_folder"
    path: ExpandedPath
    project: int | None = None
    weight: float = Field(default=1.0, gt=0)
    objects: ObjectSampling = ObjectSampling()
    scores: ExpandedPath | None = None

    @property
    def cache_name(self) -> str:
        """Folder of its decoded images."""
        return self.path.stem if self.project is None else f"{self.path.stem}-{self.project}"

    @model_validator(mode="after")
    def _only_stores_have_projects(self) -> "DataPart":
        if self.project is not None and self.kind != "accepted":
            raise ValueError(f"project is for parts of kind accepted, this one is {self.kind}")
        return self


class Data(_Strict):
    """Where images come from.

    Attributes:
        root: folder of the data sets.
        parts: at least one.
        cache: folder for decoded images; without it they are decoded whenever they are drawn.
        max_side: images are shrunk to this longest side in the cache, in pixels.
        workers: processes that prepare samples, no more than there are cores; 0 prepares them in
            the training process.
    """

    root: ExpandedPath
    parts: tuple[DataPart, ...] = Field(min_length=1)
    cache: ExpandedPath | None = None
    max_side: int | None = Field(default=None, ge=1)
    workers: int = Field(default=4, ge=0)

    @model_validator(mode="after")
    def _images_are_shrunk_somewhere(self) -> "Data":
        if self.max_side is not None and self.cache is None:
            raise ValueError("max_side shrinks images in the cache: set cache, or drop max_side")
        return self

    @model_validator(mode="after")
    def _caches_are_apart(self) -> "Data":
        names = [part.cache_name for part in self.parts]
        if self.cache is not None and len(set(names)) < len(names):
            raise ValueError(f"parts of the same name would share a cache: {sorted(names)}")
        return self


class Stage(_Strict):
    """A stretch of the training at one size.

    Attributes:
        epochs: its length.
        size: of the square crop, in pixels.
        batch_size: over all processes and accumulation steps.
    """

    epochs: int = Field(ge=1)
    size: int = Field(ge=32)
    batch_size: int = Field(ge=1)


class IterativeClicks(_Strict):
    """Clicks that answer the network's mistakes.

    Attributes:
        probabilities: of 0, 1, 2, … such clicks; drawn once a batch.
        placement: the authors' code ("inner_half") or the paper's text ("centre_and_border").
    """

    probabilities: tuple[Annotated[float, Field(ge=0)], ...] = (0.25, 0.25, 0.25, 0.25)
    placement: Placement = "inner_half"

    @model_validator(mode="after")
    def _probabilities_are_a_distribution(self) -> "IterativeClicks":
        if abs(sum(self.probabilities) - 1) > 1e-9:
            raise ValueError("probabilities must add up to 1")
        return self

    def draw_rounds(self, rng: np.random.Generator) -> int:
        """Draw how many such clicks there are in one batch."""
        return int(rng.choice(len(self.probabilities), p=self.probabilities))


class Loss(_Strict):
    """Normalized focal loss, and what is added to it.

    Attributes:
        alpha, gamma: of the focal loss.
        dice: weight of the Dice loss.
    """

    alpha: float = Field(default=0.5, ge=0, le=1)
    gamma: float = Field(default=2.0, ge=1)
    dice: float = Field(default=0.0, ge=0)


class Optimization(_Strict):
    """How the weights move.

    Attributes:
        optimizer: "adam" with weight decay in the gradient, "adamw", or "muon" for matrices and
            "adamw" for everything else.
        learning_rate: at the height of the schedule.
        betas, eps, weight_decay: of the optimiser; biases, norms and tables never decay.
        layer_decay: factor of the learning rate from each block to the one before; 1 is off.
        clip_grad_norm: largest norm of the gradient; None is off.
        accumulate: batches are computed in this many pieces.
        ema: decay of the moving average of the weights, a step; None is off.
        warmup_epochs: in which the learning rate rises from 0.
        schedule: "steps" multiplies it by `step_factor` at each of `milestones`; "cosine" lets it
            fall to 0 at the end; "decay_at_end" lets it fall in the last `decay_epochs` only, so
            that a run can be prolonged without regret.
        milestones, step_factor, decay_epochs: see `schedule`; in epochs.
    """

    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    learning_rate: float = Field(default=5e-5, gt=0)
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    clip_grad_norm: float | None = Field(default=None, gt=0)
    accumulate: int = Field(default=1, ge=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    warmup_epochs: float = Field(default=0.0, ge=0)
    schedule: Literal["steps", "cosine", "decay_at_end"] = "steps"
    milestones: tuple[int, ...] = ()
    step_factor: float = Field(default=0.1, gt=0)
    decay_epochs: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _schedule_has_its_lengths(self) -> "Optimization":
        if (self.schedule == "decay_at_end") != (self.decay_epochs > 0):
            raise ValueError('decay_epochs belongs to schedule "decay_at_end", which needs it')
        return self


def check_slots(sampling: Sampling, iterative_clicks: IterativeClicks) -> None:
    """Raise ValueError unless a sample has room for as many iterative clicks as may be drawn."""
    most = len(iterative_clicks.probabilities) - 1
    if most > sampling.clicks.slots:
        raise ValueError(
            f"sampling.clicks.slots {sampling.clicks.slots} has no room for {most} iterative clicks"
        )


class Recipe(_Strict):
    """Everything a run depends on.

    Attributes:
        run: folder for checkpoints, curves and pictures; a run found there is continued.
        seed: of weights, samples and clicks.
        epoch: samples in an epoch, the unit of all lengths.
        replacement: whether images are drawn with replacement, as those with scores always are.
        checkpoint_every: epochs.
        keep: how many checkpoints stay.
        device: "cpu" keeps off a GPU that is there, "cuda" stops where torch finds none.
        precision: see `icmformer.precision.Precision`.
        validation: what is looked at now and then; None looks at nothing.
    """

    run: ExpandedPath
    seed: int = Field(default=0, ge=0, lt=2**63)
    network: Network
    data: Data
    sampling: Sampling
    iterative_clicks: IterativeClicks = IterativeClicks()
    loss: Loss = Loss()
    optimization: Optimization = Optimization()
    epoch: int = Field(ge=1)
    replacement: bool = True
    stages: tuple[Stage, ...] = Field(min_length=1)
    checkpoint_every: int = Field(default=1, ge=1)
    keep: int = Field(default=3, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"
    validation: ValidationOptions | None = None

    @model_validator(mode="after")
    def _stages_can_be_run(self) -> "Recipe":
        network = self.network.config
        for stage in self.stages:
            if network.backbone == "vit" and not network.windows_along(stage.size):
                raise ValueError(f"size {stage.size} cannot be cut into the network's windows")
            if self.epoch % stage.batch_size:
                raise ValueError(
                    f"epoch {self.epoch} is no multiple of {stage.batch_size}, a batch_size:"
                    f" {' or '.join(map(str, self._nearest_epochs()))} would be"
                )
            if stage.batch_size % self.optimization.accumulate:
                raise ValueError("accumulate must divide every batch_size")
        if not self.replacement and len(self.data.parts) > 1:
            raise ValueError("several parts are drawn with replacement only: set replacement=true")
        check_slots(self.sampling, self.iterative_clicks)
        return self

    @model_validator(mode="after")
    def _learning_rate_gets_to_its_height(self) -> "Recipe":
        warmup = self.optimization.warmup_epochs
        if warmup >= self.epochs:
            raise ValueError(
                f"optimization.warmup_epochs {warmup:g} is no less than the {self.epochs} epochs of"
                " all stages: the learning rate would rise to the end"
            )
        return self

    def _nearest_epochs(self) -> list[int]:
        """Return what `epoch` may be instead, a little less and a little more, for all stages."""
        step = math.lcm(*(stage.batch_size for stage in self.stages))
        less = self.epoch // step * step
        return [length for length in (less, less + step) if length > 0]

    def check_shares(self, processes: int) -> None:
        """Raise RecipeError unless every batch can be shared out evenly."""
        shares = processes * self.optimization.accumulate
        for stage in self.stages:
            if stage.batch_size % shares:
                raise RecipeError(
                    f"batch_size {stage.batch_size} cannot be shared out to {processes} processes"
                    f" in {self.optimization.accumulate} pieces each: choose a multiple of {shares}"
                )

    def check_continues(self, samples: int) -> None:
        """Raise RecipeError unless batches after so many samples end where epochs do."""
        batch = next((batch for end, _, batch in self.boundaries() if samples < end), 1)
        if samples % batch:
            raise RecipeError(
                f"{self.run} was stopped after {samples} samples, within an epoch, and goes on with"
                f" a batch_size that divides {math.gcd(samples, self.epoch)}; {batch} does not"
            )

    @property
    def epochs(self) -> int:
        """Length of the whole training, in epochs."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def samples(self) -> int:
        """Length of the whole training, in samples."""
        return self.epoch * self.epochs

    def size_at(self, samples: int) -> int:
        """Return the size of the stage in which so many samples have been seen, in pixels."""
        return stage_size([(each.epochs * self.epoch, each.size) for each in self.stages], samples)

    def boundaries(self) -> tuple[tuple[int, int, int], ...]:
        """Return (last sample + 1, size, batch size) of each stage."""
        end, found = 0, []
        for stage in self.stages:
            end += stage.epochs * self.epoch
            found.append((end, stage.size, stage.batch_size))
        return tuple(found)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: of the YAML file; its key `extends` names a file beside it that it changes.
        overrides: `key=value`, keys with dots, values as in YAML.

    Raises:
        RecipeError: for a file that is missing or no YAML, and for every unknown or impossible
            setting.
    """
    values = read_settings(path)
    override(values, overrides)
    return validate(Recipe, values, path.name)
