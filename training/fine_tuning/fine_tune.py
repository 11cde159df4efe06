"""Fine-tune a network on what annotators accepted. Read it from top to bottom.

A fine-tuning job runs exactly this function, and so does the command that measures what accepted
masks are worth. The network starts from the live weights, is trained with iterative clicks as in
`training.commands.train`, to the average of its weights that did best on the validation images. So
that it does not forget, it sees other images in between, on which it must go on answering every
click as the first network of its line does (Li and Hoiem, *Learning without Forgetting*, ECCV
2016), and in the end goes only a share of the way from the live weights to these (Wortsman et al.,
*Robust fine-tuning of zero-shot models*, CVPR 2022). Where there are other images to tell the
accepted ones from, the result is a specialised network: on images that are not like the accepted
ones the first network of the line itself goes on answering.

Killed at any moment, the next call with the same folder continues where the last look at the
validation images was, and returns the same weights; on a GPU chance remains, for its kernels do not
always sum gradients up in the same order.
"""

import copy
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from icmformer import ICMFormer, Predictor, load_checkpoint, save_checkpoint
from icmformer.devices import usable_device
from icmformer.precision import autocast
from icmformer.specialised import generalist_of, specialist_of
from training.datasets.sample import EvaluationDataset, TrainingDataset
from training.evaluation.click_by_click import evaluate
from training.fine_tuning.adaptation import adapt, merge
from training.fine_tuning.familiar_images import specialised
from training.fine_tuning.fine_tune_recipe import FineTuneRecipe
from training.fine_tuning.interruptible import Interruptible
from training.loop.click_training import Answer, ClickTraining
from training.loop.losses import drift_loss, segmentation_loss
from training.loop.mixture import Mixture, Part
from training.loop.optimization import (
    learning_rate,
    make_optimizer,
    require_finite,
    set_learning_rate,
    update_average,
)
from training.loop.sample_stream import Batch, BatchPlan, SampleStream, Sampling, collate, sound
from training.loop.training_state import load_state, save_state
from training.progress import Tell

logger = logging.getLogger(__name__)

CANDIDATE = "candidate.safetensors"
_LEAST_OBJECTS, _LEAST_IMAGES = 5, 3  # to validate on


@dataclass(frozen=True)
class FineTuneData:
    """What a run learns from.

    Attributes:
        accepted: images with what annotators accepted.
        examples: images to tell by what is like the accepted ones, as they are stored; they may be
            more than are trained on.
        replay: other images, on which answers must stay, and which are examples of what is not
            like the accepted ones; None where there are none.
        validation: accepted objects on images that are not trained on; None where they are too
            few to say when to stop, and the run then takes all its steps.
    """

    accepted: TrainingDataset
    examples: TrainingDataset
    replay: TrainingDataset | None
    validation: EvaluationDataset | None


def fine_tune(
    start: Path,
    first: Path,
    data: FineTuneData,
    recipe: FineTuneRecipe,
    folder: Path,
    tell: Tell,
    **provenance: Any,
) -> Path:
    """Fine-tune a checkpoint.

    Args:
        start: the checkpoint to start from.
        first: the one that `start` descends from, before all fine-tuning; perhaps the same.
        data: what to learn from.
        recipe: how.
        folder: for the state of the run and the result.
        tell: called after each step, and before each click on a validation image.
        **provenance: written into the result's description.

    Returns:
        The candidate, ``candidate.safetensors`` in `folder`.

    Raises:
        CheckpointError: if one of the two cannot be loaded.
        StoredFileError: if an accepted image or mask is damaged.
        FileStoreError: if those are in a store that cannot be reached.
        DatasetError: if all objects are too small to learn from, or an image of `data` is damaged.
        RecipeError: if the training has diverged, or the state in `folder` cannot be read.
    """
    device = torch.device(usable_device(recipe.device))
    torch.manual_seed(recipe.seed)
    before = specialist_of(load_checkpoint(start, device)).requires_grad_(False)
    generalist = generalist_of(load_checkpoint(first, device)).requires_grad_(False)
    network = copy.deepcopy(before).requires_grad_(True)
    adapt(network, recipe.adaptation, recipe.rank)
    network.train()
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = make_optimizer(network, recipe.optimization)

    step, best_score, best_step = 0, -1.0, 0
    best = copy.deepcopy(average.state_dict())
    state = load_state(folder)
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        best = state["best"]
        step, best_score, best_step = state["step"], state["best_score"], state["best_step"]
        logger.info("continuing after step %d of %d", step, recipe.steps)

    size = recipe.size or network.input_size[0]
    replayed, others = _replay(data.replay, size, step, recipe)
    learned = recipe.batch_size - replayed
    accepted = _batches(data.accepted, learned, size, step, recipe, recipe.sampling)
    model = ClickTraining(network, recipe.iterative_clicks.placement, recipe.seed)

    for batch, other in zip(accepted, others, strict=False):
        if step - best_step >= recipe.patience * recipe.validate_every:
            logger.info("stopping: no improvement since step %d", best_step)
            break
        # Everything that is drawn in a step follows from the seed and the step: a run that was
        # killed ends where one that was not would have.
        rng = np.random.default_rng((recipe.seed, step))
        torch.manual_seed(int(rng.integers(2**63)))
        rounds = recipe.iterative_clicks.draw_rounds(rng)
        set_learning_rate(optimizer, learning_rate(recipe.optimization, step, recipe.steps))

        logits = _answer(model, batch, rounds, device).logits
        loss = segmentation_loss(logits, batch.labels.to(device), recipe.loss)
        loss = loss + recipe.replay_weight * _drift(model, generalist, other, rounds, device)
        _descend(loss, network, optimizer, recipe.optimization.clip_grad_norm)
        update_average(average, network, recipe.optimization.ema or 0.0, step)
        step += 1
        tell("training", step, recipe.steps)

        if step % recipe.validate_every and step != recipe.steps:
            continue
        require_finite(network, f"{step} steps")
        validating = partial(tell, "training", step, recipe.steps)
        score = _score(average, data.validation, recipe, validating)
        judged = "too few to validate on" if data.validation is None else f"IoU {score:.4f}"
        logger.info("step %d: loss %.4f, %s", step, loss.item(), judged)
        if data.validation is None or score > best_score:
            best_score, best_step = score, step
            best = copy.deepcopy(average.state_dict())
        state = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "best": best,
            "step": step,
            "best_score": best_score,
            "best_step": best_step,
        }
        save_state(folder, step, state, keep=1)

    average.load_state_dict(best)
    merge(average)
    _go_part_of_the_way(before, average, recipe.weight_interpolation)
    describing = partial(tell, "training", step, recipe.steps)
    result = _with_generalist(average, generalist, data, recipe, describing)
    candidate = folder / CANDIDATE
    about = {"steps": best_step, "recipe": recipe.model_dump(mode="json"), **provenance}
    save_checkpoint(result, candidate, provenance=about)
    return candidate


def _with_generalist(
    network: ICMFormer,
    generalist: ICMFormer,
    data: FineTuneData,
    recipe: FineTuneRecipe,
    tell: Callable[[], None],
) -> ICMFormer:
    """Let the generalist answer on images that are not like the accepted ones."""
    if data.replay is None or not recipe.specialise:
        return network
    return specialised(network, generalist, data.examples, data.replay, tell)


@torch.no_grad()
def _go_part_of_the_way(start: ICMFormer, end: ICMFormer, share: float) -> None:
    """Move the second network to where that share of the way from the first one ends."""
    begin = dict(start.named_parameters())
    for name, parameter in end.named_parameters():
        parameter.copy_(begin[name].lerp(parameter, share))


def _replay(
    images: TrainingDataset | None, size: int, step: int, recipe: FineTuneRecipe
) -> tuple[int, Iterable[Batch | None]]:
    """Return how many other images a step sees, and those of all steps from `step` on."""
    if images is None or not recipe.replayed:
        return 0, repeat(None)
    sampling = recipe.replay_sampling
    return recipe.replayed, _batches(images, recipe.replayed, size, step, recipe, sampling)


def _batches(
    images: TrainingDataset,
    samples: int,
    size: int,
    step: int,
    recipe: FineTuneRecipe,
    sampling: Sampling,
) -> Iterable[Batch]:
    """Return the batches of all steps from `step` on, each of so many samples of the images."""
    mixture = Mixture([Part(images, 1.0, recipe.objects)], recipe.seed)
    plan = BatchPlan(((recipe.steps * samples, size, samples),), start=step * samples)
    stream = SampleStream(mixture, sampling, recipe.seed)
    return sound(DataLoader(stream, batch_sampler=plan, collate_fn=collate))


def _drift(
    model: ClickTraining,
    generalist: ICMFormer,
    batch: Batch | None,
    rounds: int,
    device: torch.device,
) -> torch.Tensor | float:
    """Return how far the answers on other images are from those of the generalist."""
    if batch is None:
        return 0.0
    answer = _answer(model, batch, rounds, device)
    image = batch.images.to(device).float() / 255
    with torch.no_grad(), autocast("auto", device):
        expected = generalist(image, answer.click_maps, answer.previous_mask)
    return drift_loss(answer.logits, torch.sigmoid(expected)).mean()


def _answer(model: ClickTraining, batch: Batch, rounds: int, device: torch.device) -> Answer:
    with autocast("auto", device):
        return model(
            batch.images.to(device), batch.labels, batch.slots, batch.indices.tolist(), rounds
        )


def _descend(
    loss: torch.Tensor, network: ICMFormer, optimizer: torch.optim.Optimizer, clip: float | None
) -> None:
    """Take one step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()


def _score(
    model: ICMFormer,
    validation: EvaluationDataset | None,
    recipe: FineTuneRecipe,
    tell: Callable[[], None],
) -> float:
    """Return the mean IoU over the first clicks, which is steadier than a number of clicks."""
    if validation is None:
        return 0.0
    # A perfect mask ends the sample: no later click can improve it.
    card = evaluate(
        Interruptible(Predictor(model), tell),
        validation,
        max_clicks=recipe.validation_clicks,
        target_iou=1.0,
    )
    return float(card.mean_ious().mean())


def can_validate(objects: int, images: int) -> bool:
    """Return whether there is enough to say when to stop; fewer objects would say it by chance."""
    return objects >= _LEAST_OBJECTS and images >= _LEAST_IMAGES
