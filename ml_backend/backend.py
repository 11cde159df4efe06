"""Everything a request needs besides itself, put together once a process."""

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ml_backend.connection.connections import Connections
from ml_backend.connection.webhook_login import WebhookLogin
from ml_backend.images.task_images import TaskImages
from ml_backend.label_studio.project_keys import project_key, project_number
from ml_backend.learning.assembly import Learning, make_learning
from ml_backend.learning.attention import Lookout
from ml_backend.learning.hints import HintedInbox, Hints
from ml_backend.learning.learning_metrics import LearningMetrics
from ml_backend.learning.work_queue import NoDuties, declare_tasks, open_queue
from ml_backend.metrics import Metrics
from ml_backend.serving.admission import Admission
from ml_backend.serving.click_mark import ClickMark
from ml_backend.serving.click_sessions import ClickSessions
from ml_backend.serving.default_weights import DefaultWeights
from ml_backend.serving.free_cores import free_cores
from ml_backend.serving.inference_queue import InferenceQueue
from ml_backend.serving.loaded_model import choose_device, load_version
from ml_backend.serving.model_memory import ModelMemory
from ml_backend.serving.pointer_follower import PointerFollower
from ml_backend.serving.readiness import Readiness
from ml_backend.serving.recent_requests import RecentRequests
from ml_backend.serving.versions import UNTRAINED_SENTENCE, default_version
from ml_backend.settings import MEGABYTE, Settings, load_settings
from training.errors import DatabaseError
from training.processor_cores import usable_cores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """The collaborators of one process; each is safe to share between threads.

    `device` computes; `no_gpu` says why a GPU that is there does not, unless the settings do.
    """

    settings: Settings
    device: str
    no_gpu: str | None
    connections: Connections
    webhook_login: WebhookLogin
    images: TaskImages
    default_weights: DefaultWeights
    pointer: PointerFollower
    models: ModelMemory
    sessions: ClickSessions
    admission: Admission
    click_mark: ClickMark
    queue: InferenceQueue
    readiness: Readiness
    metrics: Metrics
    recent: RecentRequests
    webhooks: HintedInbox
    learning: Learning
    lookout: Lookout
    hints: Hints

    def accept(self, action: str, payload: Any, body: bytes | None = None) -> None:
        """Put an event into the inbox.

        Args:
            action: name of the event.
            payload: what came with it; `project` says whose it is.
            body: the JSON as it came, if it is at hand.
        """
        described = payload.get("project") if isinstance(payload, dict) else None
        project = self.learning.projects.meant(project_key(described))
        written = body or json.dumps({**payload, "action": action}).encode()
        self.webhooks.put(action, project, written)
        self.metrics.count_webhook(action)
        # A line break in what came from outside would forge a log line.
        logger.info("event action=%r project=%s", action[:60], project_number(project) or "?")

    def catch_up(self) -> None:
        """Have found what Label Studio sent while nobody served, which it does not repeat."""
        try:
            self.learning.projects.ask_to_reconcile_all()
        except DatabaseError as error:
            logger.warning(
                "what was accepted while nothing served is found only when projects are next "
                "compared: %s",
                error,
            )


def build_backend(settings: Settings, cores: int | None = None) -> Backend:
    """Put the collaborators together; nothing is sent, and no network is kept in memory.

    What is live begins with the checkpoint of the settings, if it loads, or the network that ships
    with the project; from then on the database of the settings says it.

    Args:
        settings: what the operator chose.
        cores: on how many the network may compute at most, unless the settings say; those that this
            process may use by default.

    Raises:
        SettingsError: if the device or the checkpoint of the settings does not exist.
        DatabaseError: if the database of the settings cannot be opened.
        FileStoreError: if the first weights of an installation cannot be stored.
    """
    device, no_gpu = choose_device(settings.device)
    metrics = Metrics()
    learning = make_learning(settings)
    default = default_version(settings.checkpoint)
    default_weights = DefaultWeights(learning.stores.versions, default.weights)
    hints = Hints(declare_tasks(open_queue(settings), NoDuties()))
    pointer = PointerFollower(learning.stores.versions, default)
    sessions = ClickSessions(settings.click_memory_mb * MEGABYTE)

    def relieve() -> None:
        sessions.clear()
        models.drop_idle()

    def make_room() -> None:
        sessions.clear()
        models.drop_all()

    models = ModelMemory(
        pointer,
        lambda version: load_version(version, device, make_room),
        settings.model_memory_mb * MEGABYTE,
        metrics,
    )
    queue = InferenceQueue(relieve, _threads_to_compute(settings, cores))
    backend = Backend(
        settings=settings,
        device=device,
        no_gpu=no_gpu,
        connections=Connections(settings.label_studio_url, settings.api_key),
        webhook_login=WebhookLogin(settings.credentials),
        images=TaskImages(
            settings.image_limits,
            settings.image_cache_mb * MEGABYTE,
            count=lambda outcome: metrics.image_cache.labels(outcome).inc(),
        ),
        default_weights=default_weights,
        pointer=pointer,
        models=models,
        sessions=sessions,
        admission=Admission(settings.threads),
        click_mark=ClickMark(settings.state_folder.last_click),
        queue=queue,
        readiness=Readiness(models, queue),
        metrics=metrics,
        recent=RecentRequests(),
        webhooks=HintedInbox(learning.inbox, learning.projects, hints),
        learning=learning,
        lookout=Lookout(learning),
        hints=hints,
    )
    pointer.follow(models.preload)
    _watch(backend)
    if no_gpu:
        logger.warning("torch cannot use the GPU, so masks come from the CPU: %s", no_gpu)
    if not pointer.live("").trained:
        logger.warning(UNTRAINED_SENTENCE)
    return backend


def _threads_to_compute(settings: Settings, cores: int | None) -> Callable[[], int]:
    """Return what says how many of torch's threads the next pass takes."""
    if settings.torch_threads:
        return lambda: settings.torch_threads
    return functools.partial(free_cores, cores or usable_cores())


@functools.cache
def backend_of_this_process() -> Backend:
    """Return the collaborators that the environment describes, made at the first call."""
    return build_backend(load_settings())


def _watch(backend: Backend) -> None:
    """Publish what changes without anybody counting."""
    watch = backend.metrics.watch
    watch("icmformer_ready", "1 once a network has answered.", lambda: backend.readiness.ready)
    watch(
        "icmformer_inference_queue",
        "Objects that wait for the network or are with it.",
        lambda: backend.queue.depth,
    )
    watch(
        "icmformer_click_memory_bytes",
        "Masks and features of objects being clicked.",
        lambda: backend.sessions.nbytes,
    )
    watch("icmformer_image_cache_bytes", "Decoded images.", lambda: backend.images.nbytes)
    watch("icmformer_model_bytes", "Weights in memory.", lambda: backend.models.nbytes)
    backend.metrics.registry.register(LearningMetrics(backend.lookout))
