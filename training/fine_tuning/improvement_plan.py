"""What one job is to do, frozen at its start.

Annotators go on while a job runs, and people may move the live pointer. The plan is written once
and read by whoever continues the job, so all of it speaks of the same samples and versions.
"""

import json
import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from training.atomic_files import write_atomically
from training.datasets.large_images import MOST_PARTS
from training.errors import VersionError
from training.fine_tuning.familiar_images import MOST_EXAMPLES
from training.fine_tuning.fine_tune_recipe import FineTuneRecipe
from training.fine_tuning.promotion import Policy
from training.progress import Tell
from training.store.damaged_samples import set_aside_damaged
from training.store.model_versions import ModelVersions
from training.store.sample_files import SampleFiles
from training.store.snapshot import Snapshot, take_snapshot_for_job, thinned
from training.store.split import HELD_OUT, TRAINING, VALIDATION
from training.store.stores import Stores
from training.store.version_rows import VersionRow

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImprovementOptions:
    """How to improve.

    Attributes:
        recipe: of the fine-tuning.
        policy: of the gate.
        start: fine-tune the live version, or the base it descends from.
        retention: folder of the retention set.
        held_out_tries: most held-out objects to judge by; fewer are clicked by several annotators,
            as long as that makes no more tries than this.
        retention_tries: the same of the retention set.
    """

    recipe: FineTuneRecipe
    policy: Policy
    start: Literal["live", "base"]
    retention: Path
    held_out_tries: int = 120
    retention_tries: int = 90


@dataclass(frozen=True)
class Assignment:
    """One job.

    Attributes:
        project: whose accepted masks to learn from.
        origin: names the job, such as ``job 12``; the same origin is the same job.
        folder: for what the job leaves behind, local.
        scores: folder for scores on retention sets, local; later jobs read there what versions
            scored that are theirs, too.
    """

    project: str
    origin: str
    folder: Path
    scores: Path


@dataclass(frozen=True)
class Plan:
    """The live version, the one to start from, the samples, and the recipe as plain data.

    The snapshot holds more images than are trained on: what the project's images look like is
    learned from all of them. The recipe is without its device: a job may be continued on another,
    and learns the same there.
    """

    live: int
    start: int
    snapshot: Snapshot
    recipe: dict[str, Any]

    def to_train_on(self) -> Snapshot:
        """Return the samples that masks are learned from."""
        # Each image makes one part at least.
        return thinned(self.snapshot.on_side(TRAINING), MOST_PARTS, {})

    def recipe_on(self, device: str) -> FineTuneRecipe:
        """Return the recipe, to be followed on a device."""
        return FineTuneRecipe.model_validate({**self.recipe, "device": device})


def frozen_plan(job: Assignment, stores: Stores, options: ImprovementOptions, tell: Tell) -> Plan:
    """Return the plan of a job, making it where there is none yet.

    Accepted masks whose files were damaged are set aside first; the job learns from the others.

    Args:
        job: what to do, and where.
        stores: where things are kept.
        options: how to improve.
        tell: called with the progress; may raise to stop.

    Raises:
        VersionError: if there is no version to start from.
    """
    kept = job.folder / "plan.json"
    if kept.exists():
        fields = json.loads(kept.read_text())
        plan = Plan(**{**fields, "snapshot": Snapshot.from_json(fields["snapshot"])})
        _say_what_holds_later(job, plan, stores.versions, options)
        return plan
    live = stores.versions.live(job.project)
    if live is None:
        raise VersionError("there is no version to start from: serve a checkpoint first")
    start = _start(options, stores.versions, live.version)
    snapshot = _whole_snapshot(job.project, stores, options, tell)
    plan = Plan(live.version, start, snapshot, _without_device(options.recipe))
    content = json.dumps({**asdict(plan), "snapshot": snapshot.to_json()})
    write_atomically(kept, content.encode())
    return plan


def _whole_snapshot(
    project: str, stores: Stores, options: ImprovementOptions, tell: Tell
) -> Snapshot:
    """Return what the job is about: no more than it can make use of, every file of it whole."""
    reading = partial(tell, "reading what was accepted")
    of_project = stores.database, SampleFiles(stores.files), project
    set_aside = partial(set_aside_damaged, stores, project, tell=reading)
    most = {HELD_OUT: options.held_out_tries, VALIDATION: options.recipe.validation_objects}
    set_aside(())  # takes back what can be read again
    while True:
        snapshot = thinned(take_snapshot_for_job(*of_project, reading), MOST_EXAMPLES, most)
        damaged = set_aside(snapshot.images())
        if not damaged:
            return snapshot
        logger.warning("set aside %d annotations whose stored files are damaged", damaged)


def _start(options: ImprovementOptions, versions: ModelVersions, live: int) -> int:
    return live if options.start == "live" else base_of(versions, live)


def _say_what_holds_later(
    job: Assignment, plan: Plan, versions: ModelVersions, options: ImprovementOptions
) -> None:
    """Log which settings were changed since the job began."""
    wanted = _without_device(options.recipe)
    changed = [name for name in wanted if wanted[name] != plan.recipe.get(name)]
    if plan.start != _start(options, versions, plan.live):
        changed.append("the version to start from")
    if changed:
        logger.info(
            "%s continues with the settings it began with; what was changed meanwhile holds for "
            "the next: %s",
            job.origin,
            ", ".join(changed),
        )


def _without_device(recipe: FineTuneRecipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude={"device"})


def base_of(versions: ModelVersions, number: int) -> int:
    """Return the version that this one descends from, which no job has made; itself, perhaps."""
    while (parent := versions.get(number).parent) is not None:
        number = parent
    return number


def made_before(
    plan: Plan, project: str, versions: ModelVersions, gate: dict[str, Any]
) -> VersionRow | None:
    """Return the version that was made of the same and judged alike, or None.

    A candidate that was made of the same is judged again where the gate asks for something else,
    and made again where its files were damaged.

    Args:
        plan: of the job.
        project: whose job it is.
        versions: what was made before.
        gate: what would be asked of a candidate, as plain data.
    """
    for version in versions.usable_by(project):
        same = (version.data_fingerprint, version.recipe) == (
            plan.snapshot.fingerprint,
            plan.recipe,
        )
        judged = (version.scores.get("compared_with"), version.scores.get("gate")) == (
            plan.live,
            gate,
        )
        if not same:
            continue
        if plan.live == version.number and plan.start in (version.number, version.parent):
            return version
        if judged and plan.start == version.parent and versions.is_whole(version.number):
            return version
    return None


def is_left_over(version: VersionRow, versions: ModelVersions) -> bool:
    """Say whether a version was to go live and did not, because its job failed on the way."""
    left = versions.open_decisions(VersionRow.number == version.number)
    return version.verdict == "promote" and version.number in {*left.waiting, *left.superseded}
