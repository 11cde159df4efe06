"""The model class of label-studio-ml, for this server and for that package's own.

Nothing heavy is made here: that package creates an object for every connection, its 2.x line for
every request. The 1.0.9 release passes what /setup brought to the constructor and the rest to
`predict`; 2.x passes the project and the labelling configuration. Both are understood.
"""

from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from ml_backend.backend import Backend, backend_of_this_process
from ml_backend.deadline import Deadline
from ml_backend.interactive import Asked, Prediction, Task, predict_tasks
from ml_backend.label_studio.labeling_config import parse
from ml_backend.label_studio.project_keys import project_key
from ml_backend.label_studio.protocol import KNOWN_ACTIONS
from training.errors import DatabaseError


class ICMFormerModel(LabelStudioMLBase):
    """Answers clicks with brush masks; hands what annotators accept to the learning side."""

    # The package's own list misses what Label Studio sends today, such as ANNOTATIONS_DELETED.
    TRAIN_EVENTS = tuple(sorted(KNOWN_ACTIONS))

    def __init__(self, *args: Any, backend: Backend | None = None, **kwargs: Any) -> None:
        """Bind the collaborators.

        Args:
            *args: of the base class.
            backend: the collaborators; those of this process by default.
            **kwargs: of the base class.
        """
        self.backend = backend or backend_of_this_process()
        super().__init__(*args, **kwargs)
        hostname, token = kwargs.get("hostname", ""), kwargs.get("access_token", "")
        if hostname or token:
            self.backend.connections.remember("", hostname, token)

    def setup(self) -> None:
        """Tell the 2.x line, which asks at every request, which version serves."""
        project = self.known_key(self.project_id)
        self.set("model_version", self.backend.pointer.live(project).name)

    def predict(
        self, tasks: list[Task], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Prediction]:
        """Return one prediction a task, in order; see `interactive.predict_tasks`.

        Raises:
            LabelingConfigError: if the project cannot be served.
        """
        config = parse(kwargs.get("label_config") or self.label_config)
        project = self.known_key(kwargs.get("project") or self._project_of(tasks))
        deadline = Deadline(self.backend.settings.predict_seconds)
        return predict_tasks(tasks, Asked(project, config, context, deadline), self.backend)

    def fit(self, *args: Any, event: str = "", data: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Hand an event on and return at once; learning happens in another process.

        Args:
            *args: none of interest in 1.0.9; the event and its data in 2.x.
            event: its name.
            data: the body of the webhook.
            **kwargs: `body`, the JSON as it came; workdir, job_id and the like are not needed.
        """
        if not event:
            event, data = args
        self.backend.accept(event, data, kwargs.get("body"))
        return {}

    def _project_of(self, tasks: list[Task]) -> str:
        return project_key(str(tasks[0].get("project"))) if tasks else ""

    def known_key(self, key: str) -> str:
        """Return the key that webhooks bring: label-studio-ml hands on the number alone."""
        try:
            return self.backend.learning.projects.meant(key) or key
        except DatabaseError:
            return key  # served with what the whole site is
