"""Whether this process can answer a click without keeping anybody waiting."""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from icmformer import Click
from ml_backend.deadline import Deadline
from ml_backend.errors import BackendError
from ml_backend.serving.inference_queue import InferenceQueue
from ml_backend.serving.model_memory import ModelMemory

logger = logging.getLogger(__name__)

# Large models on slow disks take their time; nobody waits for this but probes.
WARM_UP_SECONDS = 600.0
RETRY_SECONDS = 30.0


class Readiness:
    """Loads the default network in the background and lets it answer once."""

    def __init__(self, models: ModelMemory, queue: InferenceQueue) -> None:
        self._models = models
        self._queue = queue
        self._answered = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether a network has answered."""
        return self._answered.is_set()

    def warm_up(self, then: Callable[[], object]) -> None:
        """Begin, in a thread; what fails is tried again until a network answers.

        Args:
            then: called after the network has answered, before the process counts as ready.
        """
        threading.Thread(target=self._run, args=(then,), name="warm-up", daemon=True).start()

    def _run(self, then: Callable[[], object]) -> None:
        while not self._try_to_answer():
            time.sleep(RETRY_SECONDS)
        try:
            then()
        finally:
            self._answered.set()
        logger.info("ready")

    def _try_to_answer(self) -> bool:
        """Have a network answer; return whether it did."""
        image = np.full((64, 64, 3), 128, dtype=np.uint8)
        deadline = Deadline(WARM_UP_SECONDS)
        try:
            predictor = self._models.serving("", deadline).elsewhere
            self._queue.run(
                lambda: predictor.segment(image, [Click(32.0, 32.0, positive=True)]), deadline
            )
        except BackendError as error:
            logger.error("not ready: %s", error)
            return False
        except Exception:
            logger.exception("not ready")
            return False
        return True
