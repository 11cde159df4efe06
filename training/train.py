"""Train a network from a recipe: `python -m training train RECIPE.yaml [key=value …]`.

Read it from top to bottom. The same command runs on a CPU, a GPU, or, under `accelerate launch` or
`torchrun`, on several; started again, it continues where it stopped.
"""

import argparse
import copy
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from icmformer.checkpoint import load_checkpoint, save_checkpoint
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from icmformer import ICMFormer, build_model
from icmformer.precision import has_native_bf16
from training.click_training import ClickTraining
from training.datasets.decoded_cache import decoded
from training.datasets.image_folder import ImageFolder
from training.datasets.mixture import Mixture, Part
from training.losses import dice_loss, mean_iou, normalized_focal_loss
from training.optimization import (
    learning_rate,
    make_optimizer,
    set_learning_rate,
    update_average,
)
from training.recipe import Data, DataPart, Recipe, load_recipe
from training.sample_stream import Batch, BatchPlan, SampleStream, collate
from training.training_state import load_state, save_state

logger = logging.getLogger(__name__)
_LOG_EVERY_STEPS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("recipe", type=Path, help="YAML file, see training/recipes")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change the recipe")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    train(load_recipe(arguments.recipe, arguments.overrides))


def train(recipe: Recipe) -> Path:
    """Train, and return the weights as a checkpoint that `icmformer.load_checkpoint` reads."""
    torch.manual_seed(recipe.seed)
    accelerator = Accelerator(
        mixed_precision="bf16" if _uses_bf16(recipe) else "no", cpu=recipe.device == "cpu"
    )
    network = _network(recipe)
    average = copy.deepcopy(network).requires_grad_(False) if recipe.optimization.ema else network
    optimizer = make_optimizer(network, recipe.optimization)

    seen, step = 0, 0
    state = load_state(recipe.run)
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        seen, step = state["samples"], state["step"]
        logger.info("continuing %s after %d of %d samples", recipe.run, seen, recipe.samples)

    average.to(accelerator.device)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.compile:
        network.compile()
    model = ClickTraining(network, recipe.iterative_clicks.placement, recipe.seed)
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()

    pieces = recipe.optimization.accumulate
    plan = BatchPlan(
        recipe.boundaries(), seen, accelerator.process_index, accelerator.num_processes, pieces
    )
    with accelerator.main_process_first():
        mixture = _mixture(recipe)
    loader = DataLoader(
        SampleStream(mixture, recipe.sampling, recipe.seed),
        batch_sampler=plan,
        num_workers=recipe.data.workers,
        collate_fn=collate,
        pin_memory=accelerator.device.type == "cuda",
    )
    curves = SummaryWriter(recipe.run / "curves", purge_step=seen)
    progress = tqdm(
        total=recipe.samples, initial=seen, unit="sample", disable=not accelerator.is_main_process
    )
    recent: dict[str, list[torch.Tensor]] = {"loss": [], "iou": []}

    def save() -> Path:
        weights = recipe.run / "latest.safetensors"
        if accelerator.is_main_process:
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "samples": seen,
                "step": step,
            }
            save_state(recipe.run, seen, state, recipe.keep)
            save_checkpoint(average, weights, samples=seen, recipe=recipe.model_dump(mode="json"))
        return weights

    with _stop_signals() as stopped, _attention(accelerator.device):
        for number, batch in enumerate(loader, start=1):
            # Everything random in this step follows from the seed and the step, so that a run
            # that was killed ends where one that was not would have.
            rng = np.random.default_rng((recipe.seed, step))
            torch.manual_seed(int(rng.integers(2**63)))
            probabilities = recipe.iterative_clicks.probabilities
            rounds = int(rng.choice(len(probabilities), p=probabilities))
            rate = learning_rate(
                recipe.optimization, seen / recipe.epoch, recipe.samples / recipe.epoch
            )
            set_learning_rate(optimizer, rate)

            last = number % pieces == 0
            with accelerator.no_sync(model) if not last else _nothing():
                loss, iou = _loss(recipe, model, batch, rounds, accelerator.device)
                accelerator.backward(loss / pieces)
            recent["loss"].append(loss.detach())
            recent["iou"].append(iou)
            if not last:
                continue

            if recipe.optimization.clip is not None:
                accelerator.clip_grad_norm_(model.parameters(), recipe.optimization.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if recipe.optimization.ema:
                update_average(average, network, recipe.optimization.ema, step)
            step += 1
            taken = len(batch.indices) * pieces * accelerator.num_processes
            seen += taken
            progress.update(taken)

            if step % _LOG_EVERY_STEPS == 0:
                means = {name: torch.stack(values).mean().item() for name, values in recent.items()}
                for name, value in means.items():
                    curves.add_scalar(f"train/{name}", value, seen)
                    recent[name].clear()
                curves.add_scalar("train/learning_rate", rate, seen)
                progress.set_postfix(means)
            if seen % (recipe.checkpoint_every * recipe.epoch) == 0:
                save()
            if _any_process(accelerator, bool(stopped)):
                break
    progress.close()
    curves.close()
    return save()


def _loss(
    recipe: Recipe, model: ClickTraining, batch: Batch, rounds: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean loss of a batch, and the mean IoU of its masks."""
    images = batch.images.to(device, non_blocking=True)
    logits = model(images, batch.labels, batch.slots, batch.indices.tolist(), rounds)
    labels = batch.labels.to(device)
    loss = normalized_focal_loss(
        logits, labels, alpha=recipe.loss.alpha, gamma=recipe.loss.gamma
    ).mean()
    if recipe.loss.dice:
        loss = loss + recipe.loss.dice * dice_loss(logits, labels).mean()
    with torch.no_grad():
        return loss, mean_iou(logits, labels)


def _network(recipe: Recipe) -> ICMFormer:
    if recipe.network.checkpoint is not None:
        return load_checkpoint(recipe.network.checkpoint)
    return build_model(recipe.network.name, **recipe.network.overrides)


def _mixture(recipe: Recipe) -> Mixture:
    parts = [_part(recipe.data, part) for part in recipe.data.parts]
    return Mixture(parts, recipe.seed, None if recipe.replacement else recipe.epoch)


def _part(data: Data, part: DataPart) -> Part:
    path = data.root / part.path
    dataset: Any = ImageFolder(path)
    if data.cache is not None:
        status = path.stat()
        fingerprint = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
        dataset = decoded(dataset, data.cache / path.stem, fingerprint, data.max_side)
    return Part(dataset, part.weight, part.objects)


def _uses_bf16(recipe: Recipe) -> bool:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device("cpu") if recipe.device == "cpu" else device
    return recipe.precision == "bf16" or (recipe.precision == "auto" and has_native_bf16(device))


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect requests to stop, so that the step in progress ends and is saved."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {s: signal.signal(s, remember) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _any_process(accelerator: Accelerator, here: bool) -> bool:
    """Say whether the statement holds in any process; all of them must ask together."""
    if accelerator.num_processes == 1:
        return here
    flag = torch.tensor(int(here), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum").item())


@contextmanager
def _attention(device: torch.device) -> Iterator[None]:
    """On a CPU, compute attention with plain matrix products.

    With the few hundred tokens a cross-modality block sees, they take 20–30 % off a whole training
    step: the backward pass of the CPU's fused kernel is slow.
    """
    if device.type != "cpu":
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    with sdpa_kernel(SDPBackend.MATH):
        yield
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
