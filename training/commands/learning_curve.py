"""What accepted masks are worth: `python -m training learning-curve --checkpoint … --domain … …`.

Plays the learning loop on a data set whose masks are known. Images are split by the hash of their
pixels, as the loop splits them, and annotators accept a few objects of each; a fifth of what they
accept is held out. After so many masks the network is fine-tuned with the recipe of the jobs, and
clicks are counted on the domain's held-out images and on benchmarks that must not suffer.
Interrupted, it goes on with the last state of the training, or anew with the set of objects that it
was clicking on.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from icmformer import Predictor, load_checkpoint
from icmformer.devices import usable_device
from training.atomic_files import write_atomically
from training.datasets.benchmarks import benchmark_folder, open_benchmark
from training.datasets.decoded_cache import decoded
from training.datasets.each_object import some_objects
from training.datasets.fingerprint import contents_fingerprint, require_outside
from training.datasets.large_images import CloseUps
from training.datasets.sample import EvaluationDataset, TrainingDataset
from training.errors import DatasetError
from training.evaluation.noc import ScoreCard
from training.evaluation.same_settings import keep_to
from training.fine_tuning.accepted_domain import AcceptedDomain
from training.fine_tuning.fine_tune import CANDIDATE, FineTuneData, can_validate, fine_tune
from training.fine_tuning.fine_tune_recipe import FineTuneRecipe, load_fine_tune_recipe
from training.fine_tuning.learning_curve_report import THRESHOLDS, Point, write_learning_curve
from training.fine_tuning.retention import PACKAGED, RetentionSet
from training.fine_tuning.trial import Exercise
from training.home_paths import given_path
from training.progress import Stage, Tell, progress
from training.provenance import provenance
from training.weights_file import weights_sha256
from training.whole_numbers import positive

logger = logging.getLogger(__name__)

_BENCHMARKS = ("GrabCut", "Berkeley")
_HELD_OUT = "held out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--checkpoint", type=given_path, required=True, help="to start from: .safetensors or .pth"
    )
    parser.add_argument(
        "--domain",
        type=given_path,
        required=True,
        help="what is learned: a folder of images/ and masks/",
    )
    parser.add_argument(
        "--data",
        type=given_path,
        help=f"folder that holds {' and '.join(_BENCHMARKS)}: after each number of masks all their "
        "objects are clicked by every annotator, which takes several times as long as what is held "
        "out",
    )
    parser.add_argument("--retention", type=given_path, default=PACKAGED, help="what is replayed")
    parser.add_argument("--masks", type=_numbers, default="10,25,50,100,200", metavar="N,N,…")
    parser.add_argument(
        "--objects-per-image", type=positive, default=5, help="most masks accepted on one image"
    )
    parser.add_argument(
        "--test-objects", type=positive, default=100, help="held-out objects to click"
    )
    parser.add_argument(
        "--annotators",
        type=positive,
        default=3,
        help="who click on every object: the one of the published protocol, and others less exact",
    )
    parser.add_argument(
        "--recipe", type=given_path, help="what differs from recipes/fine_tune.yaml"
    )
    parser.add_argument("--output", type=given_path, required=True, help="folder for the results")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change the recipe")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    try:
        _run(arguments)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("interrupted; repeat the command to go on") from error


def _run(arguments: argparse.Namespace) -> None:
    recipe = load_fine_tune_recipe(arguments.recipe, arguments.overrides)
    domain = AcceptedDomain(arguments.domain, arguments.objects_per_image)
    tests = _tests(domain, arguments)
    retention = RetentionSet(arguments.retention)
    replay = retention.replay()
    output: Path = arguments.output
    clicked = _benchmark_folders(arguments)
    for folder in (arguments.domain, *clicked.values()):
        require_outside("--output", output, folder)
    taken = [domain.accepted(masks) for masks in arguments.masks]
    keep_to(
        {
            "weights": weights_sha256(arguments.checkpoint),
            "domain": contents_fingerprint(arguments.domain),
            "objects per image": arguments.objects_per_image,
            "test objects": arguments.test_objects,
            "annotators": arguments.annotators,
            "benchmarks": {name: contents_fingerprint(path) for name, path in clicked.items()},
            "retention set": retention.fingerprint,
            "recipe": recipe.model_dump(mode="json"),
        },
        output,
    )
    points = [_measured(0, arguments.checkpoint, tests, output / "0 masks", recipe)]
    for masks, (accepted, validation) in zip(arguments.masks, taken, strict=True):
        folder = output / f"{masks} masks"
        folder.mkdir(parents=True, exist_ok=True)
        data = FineTuneData(
            accepted=decoded(
                accepted, folder / "decoded", str(masks), CloseUps(recipe.max_side, len(accepted))
            ),
            examples=accepted,
            replay=replay,
            validation=_validation(validation, recipe),
        )
        candidate = folder / CANDIDATE
        if not candidate.with_suffix(".json").exists():
            start = arguments.checkpoint
            fine_tune(start, start, data, recipe, folder, _sayer(), masks=masks)
        points.append(_measured(masks, candidate, tests, folder, recipe))
        origin = asdict(provenance(usable_device(recipe.device)))
        write_learning_curve(points, arguments.domain.name, origin, output)


def _benchmark_folders(arguments: argparse.Namespace) -> dict[str, Path]:
    """Return where the benchmarks lie: what else is in the data folder may change."""
    if arguments.data is None:
        return {}
    return {name: benchmark_folder(name, arguments.data) for name in _BENCHMARKS}


def _tests(domain: AcceptedDomain, arguments: argparse.Namespace) -> dict[str, Exercise]:
    held_out = some_objects(domain.held_out, arguments.test_objects)
    tests: dict[str, EvaluationDataset] = {} if held_out is None else {_HELD_OUT: held_out}
    if arguments.data is not None:
        tests |= {name: open_benchmark(name, arguments.data) for name in _BENCHMARKS}
    if not tests:
        raise DatasetError(
            f"{arguments.domain} has no object on an image that is held out, so there is nothing"
            " to click on: add images, or give --data"
        )
    return {name: Exercise(objects, arguments.annotators) for name, objects in tests.items()}


def _validation(images: TrainingDataset, recipe: FineTuneRecipe) -> EvaluationDataset | None:
    objects = some_objects(images, recipe.validation_objects)
    if objects is None or not can_validate(len(objects), len(images)):
        return None
    return objects


def _measured(
    masks: int,
    checkpoint: Path,
    tests: dict[str, Exercise],
    folder: Path,
    recipe: FineTuneRecipe,
) -> Point:
    """Click on every object of the tests with a version, as it would be served."""
    folder.mkdir(parents=True, exist_ok=True)
    device = usable_device(recipe.device)
    cards: dict[str, ScoreCard] = {}
    for name, exercise in tests.items():
        kept = folder / f"{name}.json"
        if not kept.exists():
            network = load_checkpoint(checkpoint, device)
            predictor = Predictor(network, at_home=name == _HELD_OUT)
            with progress(total=len(exercise), desc=f"{masks} masks, {name}", unit="obj") as bar:
                card = exercise.judge(predictor, max(THRESHOLDS), lambda _: bar.update())
            write_atomically(kept, card.to_json().encode())
        cards[name] = ScoreCard.from_json(kept.read_text())
        clicks = ", ".join(f"{cards[name].noc(t):.2f} to {t:.0%}" for t in THRESHOLDS)
        logger.info("%d masks, %s: clicks %s", masks, name, clicks)
    return Point(masks, cards)


def _sayer() -> Tell:
    """Return what logs every fiftieth step, once however often it is told."""
    said: tuple[Stage, int] | None = None

    def say(stage: Stage, done: int, total: int) -> None:
        nonlocal said
        if done % 50 == 0 and (stage, done) != said:
            said = (stage, done)
            logger.info("%s: %d of %d", stage, done, total)

    return say


def _numbers(text: str) -> Sequence[int]:
    return [positive(number) for number in text.split(",")]
