"""Train a network from a recipe: `python -m training train RECIPE.yaml [key=value …]`.

Read it from top to bottom. The same command runs on a CPU, a GPU, or, under `accelerate launch` or
`torchrun`, on several; started again, it continues where it stopped.
"""

import argparse
import copy
import logging
import multiprocessing
import os
import signal
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from icmformer import ICMFormer, ModelConfig, build_model, load_checkpoint
from icmformer.errors import CheckpointError
from icmformer.precision import autocast
from icmformer.pretrained import load_pretrained_backbone
from icmformer.specialised import specialist_of
from training.errors import RecipeError
from training.folder_lock import locked
from training.home_paths import given_path
from training.loop.click_training import ClickTraining
from training.loop.continued_run import changed_data, changed_settings, differing_numbers
from training.loop.keeper import LATEST, Keeper
from training.loop.losses import mean_iou, segmentation_loss
from training.loop.mixture import Mixture
from training.loop.monitor import Monitor
from training.loop.optimization import (
    learning_rate,
    make_optimizer,
    set_learning_rate,
    update_average,
)
from training.loop.processes import (
    StopRequested,
    StopSignals,
    explained_deaths,
    fast_attention,
    is_launched,
    make_accelerator,
    same_in_all,
)
from training.loop.recipe import Network, Optimization, Recipe, load_recipe
from training.loop.sample_stream import Batch, BatchPlan, SampleStream, collate, sound
from training.loop.training_data import contents, open_mixture, require_present
from training.loop.training_state import TrainingState, has_state, load_state
from training.loop.validation import Validation
from training.processor_cores import usable_cores
from training.provenance import provenance

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("recipe", type=given_path, help="YAML file, see training/recipes")
    # the default makes argparse take them for optional, also in what it says is missing
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="change the recipe"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    try:
        train(load_recipe(arguments.recipe, arguments.overrides))
    except StopRequested as stop:
        return stop.status
    return 0


def train(recipe: Recipe) -> Path:
    """Train, and return the weights as a checkpoint that `icmformer.load_checkpoint` reads.

    Raises:
        DatasetError: if the data is missing.
        CheckpointError: if the weights to start from are.
        RecipeError: if they are those of another network, the processes have different states,
            another training runs in the folder, or this one diverges.
        StopRequested: if it was asked to stop, outside a launcher; what was trained is saved.
    """
    accelerator = make_accelerator(recipe.device)
    # Two in one folder would overwrite each other's states.
    refusal = RecipeError(
        f"another training is running in {recipe.run}: wait for it, or choose another run folder"
    )
    with locked(recipe.run, refusal) if accelerator.is_main_process else nullcontext():
        return _train(recipe, accelerator)


def _train(recipe: Recipe, accelerator: Accelerator) -> Path:
    options = recipe.optimization
    torch.manual_seed(recipe.seed)
    # Workers are forked, and OpenCV's threads may not survive that: some hung in their first call.
    cv2.setNumThreads(1)
    recipe.check_shares(accelerator.num_processes)
    # Now, not when weights are written: the code may change in the hours between.
    origin = provenance(accelerator.device.type)
    continued = has_state(recipe.run)
    validation = None
    if not continued:  # weights may have to be fetched: what else is missing is said before
        require_present(recipe)
        validation = _validation(recipe)
    # Before the data: weights that are missing or do not fit are said now, not after hours of
    # decoding.
    state = _begun_or_continued(recipe, accelerator.device)
    weights = recipe.run / LATEST
    saved = state.samples if continued and weights.exists() else None
    if not same_in_all(accelerator, state.samples, state.step):
        raise RecipeError(
            f"the processes do not continue from the same state: {recipe.run} must be one folder"
            " that all machines share"
        )
    recipe.check_continues(state.samples)
    if saved is not None and _is_finished(recipe, state):  # which needs no data any more
        accelerator.end_training()
        return weights
    if continued:
        validation = _validation(recipe)
    mixture = _opened(recipe, accelerator, state)
    placement = recipe.iterative_clicks.placement
    model: torch.nn.Module = ClickTraining(state.network, placement, recipe.seed)
    model, state.optimizer = accelerator.prepare(model, state.optimizer)

    plan = BatchPlan(
        recipe.boundaries(),
        state.samples,
        accelerator.process_index,
        accelerator.num_processes,
        options.accumulate,
    )
    ending = multiprocessing.Event()
    loader = DataLoader(
        SampleStream(mixture, recipe.sampling, recipe.seed),
        batch_sampler=plan,
        num_workers=min(recipe.data.workers, usable_cores()),
        collate_fn=collate,
        worker_init_fn=partial(_settle_worker, ending),
        pin_memory=accelerator.device.type == "cuda",
    )
    silent = not accelerator.is_main_process
    monitor = Monitor(recipe.run, recipe.samples, state.samples, silent)
    stop = StopSignals()
    keeper = Keeper(recipe, origin, accelerator, validation, monitor, saved, stop.interrupt)

    try:
        keeper.look_if_due(state)
        with explained_deaths():
            for pieces in _grouped(sound(loader), options.accumulate):
                if stop.agreed(accelerator):
                    break
                rounds = _settle_chance(recipe, state.step, accelerator.process_index)
                rate = learning_rate(options, state.samples / recipe.epoch, recipe.epochs)
                set_learning_rate(state.optimizer, rate)
                with fast_attention(accelerator.device):
                    loss, iou = _accumulate_gradients(recipe, accelerator, model, pieces, rounds)
                _descend(accelerator, state, options)
                seen = sum(len(piece.indices) for piece in pieces)
                state.samples += seen * accelerator.num_processes
                monitor.step(state.samples, rate, loss=loss, iou=iou)
                keeper.after_step(state)
    finally:
        ending.set()
        stop.forget()
        monitor.close()
    keeper.at_end(state)
    # Threads that still listen to the other processes would abort this one where it exits.
    accelerator.end_training()
    _say_how_it_ended(recipe, accelerator, state, stop)
    return weights


def _validation(recipe: Recipe) -> Validation | None:
    return None if recipe.validation is None else Validation(recipe.validation)


def _is_finished(recipe: Recipe, state: TrainingState) -> bool:
    """Say whether there is nothing left to train, nor to look at."""
    look_due = recipe.validation is not None and state.look_due
    return state.samples >= recipe.samples and not look_due


def _say_how_it_ended(
    recipe: Recipe, accelerator: Accelerator, state: TrainingState, stop: StopSignals
) -> None:
    """Say where to find what was trained; raise StopRequested if not all of it was.

    Launchers take all but a good end for a failure, which they report, or start all processes anew.
    """
    if not accelerator.is_main_process:
        return
    if _is_finished(recipe, state):
        weights = recipe.run / LATEST
        logger.info("finished after %d samples: the weights are in %s", state.samples, weights)
        return
    logger.info(
        "stopped after %d of %d samples, saved in %s: the same command goes on",
        state.samples, recipe.samples, recipe.run,
    )  # fmt: skip
    if not is_launched(accelerator):
        stop.interrupt()


def _opened(recipe: Recipe, accelerator: Accelerator, state: TrainingState) -> Mixture:
    """Return what is trained on, and say if it is not what the state learned from."""
    with accelerator.local_main_process_first():  # which fills the cache of decoded images
        mixture = open_mixture(recipe)
    now = contents(mixture)
    if not same_in_all(accelerator, zlib.crc32(repr(now).encode())):
        raise RecipeError(
            f"the processes of {recipe.run} found different images, as when some are accepted"
            " meanwhile: start it again"
        )
    if changed := changed_data(state.data, now):
        logger.warning(
            "%s goes on with other images than before, so it will not end where it would have"
            " ended: %s", recipe.run, changed,
        )  # fmt: skip
    state.data = now
    return mixture


def _begun_or_continued(recipe: Recipe, device: torch.device) -> TrainingState:
    """Return what is trained: as the newest state in the run's folder has it, or from the start."""
    options = recipe.optimization
    found = load_state(recipe.run)
    changes = changed_settings(found, recipe)
    network = _network(recipe, found).to(device).train()
    average = copy.deepcopy(network).requires_grad_(False) if options.ema else network
    measure = recipe.validation.measure() if recipe.validation else ""
    state = TrainingState(network, average, make_optimizer(network, options), measure=measure)
    if found is not None:
        state.restore(found, recipe, changes)
    return state


def _network(recipe: Recipe, found: dict[str, Any] | None) -> ICMFormer:
    """Build the network of the state that was found, or with the weights that a run begins with."""
    options = recipe.network
    if found is not None:
        return ICMFormer(ModelConfig.from_dict(found["config"]))
    if options.checkpoint is not None:
        network = specialist_of(load_checkpoint(options.checkpoint))
        _check_fits(network.config, options)
        return network
    network = build_model(options.name, **options.overrides)
    if options.backbone_weights is not None:
        _load_backbone(network, options.name, options.backbone_weights)
    return network


def _load_backbone(network: ICMFormer, name: str, weights: str | Path) -> None:
    """Start from pretrained weights; errors name both settings, one may be the recipe's own."""
    try:
        load_pretrained_backbone(network, weights)
    except CheckpointError as error:
        raise CheckpointError(
            f"network.backbone_weights has to fit network.name={name}, or to be null: {error}"
        ) from error


def _check_fits(found: ModelConfig, options: Network) -> None:
    """Raise RecipeError unless a checkpoint holds the network of the recipe, whatever its size."""
    differing = differing_numbers(found, options.config)
    if not differing:
        return
    first, *others = differing
    held, wanted = differing[first]
    advice = f"network.overrides.{first}={held} makes it fit"
    if others:
        advice = (
            f"{', '.join(others)} differ, too: give network.name and network.overrides of its own"
        )
    raise RecipeError(
        f"{options.checkpoint} holds another network than {options.name}: its {first} is"
        f" {held}, the recipe's {wanted}; {advice}"
    )


def _settle_worker(ending: Event, worker: int) -> None:
    """Let a process that prepares samples end when the training does, and not before.

    Ctrl-C reaches all processes of a terminal; without them the last step could not be finished.
    After it, a request to end must be obeyed: Python waits for those it has asked.
    """

    def end(number: int, frame: object) -> None:
        if ending.is_set():
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Yield as many batches at a time as make one step."""
    while group := list(islice(batches, size)):
        yield group


def _settle_chance(recipe: Recipe, step: int, process: int) -> int:
    """Seed the step, and draw how many clicks answer the network's mistakes in it.

    Everything drawn in a step follows from the seed and its number, so that a run that was killed
    ends where one that was not would have (but that a GPU sums up in any order). The number of
    clicks is the same in all processes.
    """
    torch.manual_seed(int(np.random.default_rng((recipe.seed, step, process)).integers(2**63)))
    return recipe.iterative_clicks.draw_rounds(np.random.default_rng((recipe.seed, step)))


def _accumulate_gradients(
    recipe: Recipe,
    accelerator: Accelerator,
    model: torch.nn.Module,
    pieces: list[Batch],
    rounds: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of a step's pieces; return its mean loss and IoU in this process."""
    losses, ious = [], []
    for number, batch in enumerate(pieces, start=1):
        # Gradients are exchanged between processes once, with the last piece.
        last = number == len(pieces)
        with nullcontext() if last else accelerator.no_sync(model):
            images = batch.images.to(accelerator.device, non_blocking=True)
            labels = batch.labels.to(accelerator.device, non_blocking=True)
            with autocast(recipe.precision, accelerator.device):
                answer = model(images, batch.labels, batch.slots, batch.indices.tolist(), rounds)
            loss = segmentation_loss(answer.logits, labels, recipe.loss)
            accelerator.backward(loss / len(pieces))
        losses.append(loss.detach())
        ious.append(mean_iou(answer.logits.detach(), labels))
    return torch.stack(losses).mean(), torch.stack(ious).mean()


def _descend(accelerator: Accelerator, state: TrainingState, options: Optimization) -> None:
    """Move the weights against their gradients, and the average after them."""
    if options.clip_grad_norm is not None:
        accelerator.clip_grad_norm_(state.network.parameters(), options.clip_grad_norm)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    if options.ema:
        update_average(state.average, state.network, options.ema, state.step)
    state.step += 1
