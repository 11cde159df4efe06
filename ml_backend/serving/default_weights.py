"""What serve is started with, made the default of the site as soon as the stored files let it.

They may be away for long, or hang: meanwhile these weights, or what is live, serve all the same.
"""

import contextlib
import logging
import threading
from concurrent.futures import Future, InvalidStateError, wait
from pathlib import Path

from icmformer import load_checkpoint
from icmformer.errors import CheckpointError
from training.errors import FileStoreError, TrainingError
from training.store.live_pointer import SITE
from training.store.model_versions import ModelVersions

logger = logging.getLogger(__name__)

START_SECONDS = 10.0  # how long the start waits for the stored files
AGAIN_SECONDS = 30.0


class DefaultWeights:
    """Installs the weights of the settings once, however many times that has to be tried.

    Only who serves does: the worker may be started without the setting, and must not take the
    default back.

    Attributes:
        problem: a sentence that says why they are not installed; empty once they are.
    """

    def __init__(self, versions: ModelVersions, weights: Path | None) -> None:
        """Install them; in a thread that goes on, where the stored files hang or are away.

        Args:
            versions: where.
            weights: a checkpoint; None for none.

        Raises:
            DatabaseError: if the database is away.
            FileStoreError: if the first weights of an installation cannot be stored.
            VersionError: if they are not complete.
        """
        self.problem = ""
        self._versions = versions
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._is_stored = False
        if weights is None:
            return
        try:
            load_checkpoint(weights)
        except CheckpointError as error:
            self.problem = f"what ICMFORMER_CHECKPOINT names does not go live: {error}"
            logger.error(self.problem)
            return
        first, name = Future[None](), "default-weights"
        threading.Thread(target=self._go_on, args=(weights, first), name=name, daemon=True).start()
        wait([first], timeout=START_SECONDS)
        if first.cancel():
            self._note_not_stored(weights, f"this takes longer than {START_SECONDS:g} seconds")
        elif (failure := first.exception()) is not None:
            if not (isinstance(failure, FileStoreError) and versions.live(SITE)):
                self._given_up.set()
                raise failure
            self._note_not_stored(weights, failure)

    def _go_on(self, weights: Path, first: "Future[None]") -> None:
        number = None
        while True:
            try:
                number = number or self._install(weights)
                self._versions.mend(number, weights)
            except Exception as error:
                try:
                    first.set_exception(error)
                except InvalidStateError:  # nobody waits for it any more
                    self._note_not_stored(weights, error)
            else:
                break
            if self._given_up.wait(AGAIN_SECONDS):
                return
        with self._lock:
            if self.problem:
                logger.info("%s is stored now", weights)
            self._is_stored, self.problem = True, ""
        with contextlib.suppress(InvalidStateError):
            first.set_result(None)

    def _install(self, weights: Path) -> int:
        number = self._versions.install(weights)
        live = self._versions.live(SITE)
        if live is not None and live.version != number:
            logger.info(
                "version %d is live, as a person decided: python -m ml_backend promote %d makes "
                "what serve was started with live, %s",
                live.version, number, weights,
            )  # fmt: skip
        return number

    def _note_not_stored(self, weights: Path, why: object) -> None:
        trace = why if isinstance(why, Exception) and not isinstance(why, TrainingError) else None
        problem = f"{weights}, which serve was started with, is not stored for now: {why}"
        with self._lock:
            if not self._is_stored and problem != self.problem:
                logger.error(problem, exc_info=trace)
                self.problem = problem
