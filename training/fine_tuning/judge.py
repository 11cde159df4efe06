"""What the versions of one job score, and which of them a candidate is measured by.

On the retention set, which does not change from job to job, a version is clicked once and its
scores are kept: on a CPU that takes minutes. Held-out objects become more with every job.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from icmformer import Predictor, __version__, load_checkpoint
from icmformer.devices import usable_device
from icmformer.precision import has_native_bf16
from training.datasets.accepted import AcceptedObjects
from training.fine_tuning.improvement_plan import Assignment, ImprovementOptions, Plan, base_of
from training.fine_tuning.retention import RetentionSet
from training.fine_tuning.trial import Exercise, Scores, Side, run_trial
from training.progress import Stage, Tell
from training.store.sample_files import SampleFiles
from training.store.split import HELD_OUT
from training.store.stores import Stores
from training.store.version_files import read_pair


class Judge:
    """Lets simulated annotators click with versions, for one job.

    Attributes:
        exercises: the objects of each side that has some.
        device: where versions compute.
        live_at_home: whether the live version is one of the project's own.
    """

    def __init__(
        self,
        job: Assignment,
        plan: Plan,
        stores: Stores,
        options: ImprovementOptions,
        retention: RetentionSet,
        tell: Tell,
    ) -> None:
        """Choose the objects; nothing is clicked yet.

        Args:
            job: says where scores are kept.
            plan: says which objects are held out.
            stores: where things are kept.
            options: how many objects, and the device.
            retention: what must not be forgotten.
            tell: called with the progress; may raise to stop.
        """
        self._job = job
        self._plan = plan
        self._stores = stores
        self._threshold = options.policy.threshold
        self.device = usable_device(options.recipe.device)
        self.live_at_home = stores.versions.get(plan.live).project == job.project
        self._tell = tell
        self._asked = (
            __version__,
            retention.fingerprint,
            options.retention_tries,
            torch.device(self.device).type,
            has_native_bf16(torch.device(self.device)),
        )
        held_out, tries = plan.snapshot.on_side(HELD_OUT), options.held_out_tries
        accepted = AcceptedObjects(held_out, SampleFiles(stores.files))
        others = retention.judged(options.retention_tries)
        self.exercises: dict[Side, Exercise] = {}
        if held_out.samples:
            self.exercises["held_out"] = Exercise.of_tries(accepted, tries)
        if others is not None:
            self.exercises["retention"] = Exercise.of_tries(others, options.retention_tries)

    def measure(self) -> tuple[Scores, int]:
        """Return what a candidate must beat: of the live version, and of one that remembers more.

        Returns:
            Scores, those on the retention set of the live version or of the one it descends from;
            and the number of that one.

        Raises:
            VersionError, CheckpointError: if a version is damaged.
            StoredFileError: if an accepted image or mask is damaged.
            FileStoreError: if stored files cannot be reached.
        """
        live = self._plan.live
        checkpoint = self._stores.versions.checkpoint(live)
        stage: Stage = "judging the live version"
        scores = self._scores(checkpoint, self.exercises, "live", stage, self.live_at_home)
        first = base_of(self._stores.versions, live)
        if first == live or "retention" not in scores:
            return scores, live
        checkpoint = self._stores.versions.checkpoint(first)
        others: dict[Side, Exercise] = {"retention": self.exercises["retention"]}
        remembered = self._scores(checkpoint, others, "first", "judging the first version", False)
        now, then = (each["retention"].noc(self._threshold) for each in (scores, remembered))
        return ({**scores, **remembered}, first) if then < now else (scores, live)

    def candidate(self, checkpoint: Path) -> Scores:
        """Return what a candidate scores.

        Raises:
            VersionError, CheckpointError: if it is damaged.
            StoredFileError: if an accepted image or mask is damaged.
            FileStoreError: if stored files cannot be reached.
        """
        return self._scores(
            checkpoint, self.exercises, "candidate", "judging the candidate", at_home=True
        )

    def _scores(
        self,
        checkpoint: Path,
        exercises: Mapping[Side, Exercise],
        name: str,
        stage: Stage,
        at_home: bool,
    ) -> Scores:
        hashes = [hashlib.sha256(content).hexdigest() for content in read_pair(checkpoint)]
        key = hashlib.sha256(repr((*self._asked, *hashes)).encode()).hexdigest()
        # The job may be continued by another release, or elsewhere, which would click otherwise.
        kept: dict[Side, Path] = {
            "held_out": self._job.folder / f"{name}_scores-{key}.json",
            "retention": self._job.scores / f"{key}.json",
        }

        def predictor(side: Side) -> Predictor:
            network = load_checkpoint(checkpoint, self.device)
            return Predictor(network, at_home=at_home and side == "held_out")

        return run_trial(predictor, exercises, kept, stage, self._tell)
