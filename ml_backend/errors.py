"""What can go wrong in this package, each with the HTTP status it is answered with.

BackendError                 500
├── SettingsError            500  an environment variable that is unknown or unusable
├── LoginError               401  a request without the login this backend asks for
├── RequestError             400  a request body that does not follow the protocol
├── NotFoundError            404  a project, job or version that does not exist
├── LabelingConfigError      422  a labelling configuration this backend cannot serve
├── LabelStudioError         502  Label Studio cannot be reached or refuses the token
├── ProjectGoneError         410  a project that Label Studio does not have any more
├── TaskImageError           422  a task whose image cannot be used
│   └── ImageHostError       422  an image whose server is away, silent or slow
│       └── SlowImageError   422  an image for which nobody waits any longer
│           └── ImageTurnError   422  the same, while others were read before it
├── BrushRLEError            422  a brush mask that cannot be read or written
├── ModelError               503  no network can be loaded for this project
├── DeadlineError            503  an answer that would come too late
├── BusyError                503  more requests for masks than threads to spare
├── DeviceMemoryError        503  a GPU whose memory does not suffice
├── DeviceError              503  a GPU that failed
├── ForeignSiteError         403  a change that another site's page asks for
├── JobError                 409  a job that does not exist, has ended, or is another worker's
└── LocalServerError         500  the demo or a measurement cannot start, or a program of it ended
"""

UNFORESEEN = "something unforeseen went wrong; the backend's log says what"
NO_MEMORY = (
    "this machine has too little memory: keep other programs off it, or lower "
    "ICMFORMER_IMAGE_CACHE_MB, ICMFORMER_CLICK_MEMORY_MB, ICMFORMER_MODEL_MEMORY_MB or "
    "ICMFORMER_MAX_IMAGE_MEGAPIXELS"
)


class BackendError(Exception):
    """Base of every error this package raises on purpose; its text is one sentence for people."""

    status = 500


class SettingsError(BackendError):
    """The environment holds a setting that is unknown or unusable; the text names it."""


class LoginError(BackendError):
    """The request does not carry the login this backend asks for."""

    status = 401


class RequestError(BackendError):
    """The request body does not follow Label Studio's protocol."""

    status = 400


class NotFoundError(BackendError):
    """What an address or a request names does not exist, or is another project's."""

    status = 404


class LabelingConfigError(BackendError):
    """The labelling configuration lacks something; the text says what to add."""

    status = 422


class LabelStudioError(BackendError):
    """Label Studio cannot be reached, or refuses the credentials.

    Attributes:
        answered: the HTTP status Label Studio answered with; None if it did not answer.
    """

    status = 502

    def __init__(self, sentence: str, answered: int | None = None) -> None:
        super().__init__(sentence)
        self.answered = answered


class ProjectGoneError(BackendError):
    """Label Studio does not have a project any more, or has another one under its number."""

    status = 410


class TaskImageError(BackendError):
    """The image of a task is missing, too large or unreadable."""

    status = 422


class ImageHostError(TaskImageError):
    """The server of an image is away, silent or too slow; it may have others, to come as slowly."""


class SlowImageError(ImageHostError):
    """An image did not come while somebody waited for it."""


class ImageTurnError(SlowImageError):
    """An image had to wait for others, of other servers perhaps; the next try may be in time."""


class BrushRLEError(BackendError):
    """Bytes that are not a brush mask of the expected size."""

    status = 422


class ModelError(BackendError):
    """No network can be loaded for this project; the text says which and why."""

    status = 503


class DeadlineError(BackendError):
    """The answer would come after Label Studio has stopped waiting for it."""

    status = 503


class BusyError(BackendError):
    """More requests for masks than threads to spare."""

    status = 503


class DeviceMemoryError(BackendError):
    """The GPU has not enough memory to answer, even after everything remembered was forgotten."""

    status = 503


class DeviceError(BackendError):
    """The GPU failed: nothing more can be computed in this process."""

    status = 503


class LocalServerError(BackendError):
    """The demo or a measurement cannot start, or a program of it ended; says what to do."""


class JobError(BackendError):
    """A fine-tuning job does not exist, has ended, was cancelled, or belongs to another worker."""

    status = 409


class ForeignSiteError(BackendError):
    """Another site's page asks for a change, with the browser of somebody who may."""

    status = 403


def unforeseen(error: Exception) -> str:
    """Name an error of the worker that nobody foresaw, without its text: it may quote a token."""
    return f"{type(error).__name__}; the worker's log says more"
