"""What happens when a project connects: everything that can be checked is checked.

/setup is the one place where Label Studio shows an administrator why something does not work, and
it is asked again whenever somebody opens a task, so it must be quick and safe to repeat.
"""

import time
from dataclasses import replace

from ml_backend.backend import Backend
from ml_backend.errors import UNFORESEEN, BackendError, LabelingConfigError
from ml_backend.label_studio.labeling_config import parse
from ml_backend.label_studio.project_keys import project_number
from ml_backend.label_studio.protocol import SetupRequest
from ml_backend.learning.projects import ProjectNews, Projects
from training.errors import TrainingError


def connect(asked: SetupRequest, place: str, backend: Backend) -> dict[str, str]:
    """Return the answer to /setup: the version that will serve the project.

    Args:
        asked: what Label Studio said.
        place: host, port and path under which it reached this backend.
        backend: the collaborators.

    Raises:
        LabelingConfigError: if the labelling configuration cannot be served.
        LabelStudioError: if Label Studio cannot be asked from here.
        ModelError: if the project's network turned out to be unusable.
        DatabaseError: if the database cannot be reached, and so nothing be remembered.
    """
    started = time.perf_counter()
    problem = UNFORESEEN
    asked = replace(asked, project=backend.learning.projects.meant(asked.project))
    backend.connections.remember(asked.project, asked.hostname, asked.access_token)
    try:
        if asked.project:
            _tell_worker(asked, backend.learning.projects)
        version = _checked(asked, backend)
        label_studio = backend.connections.label_studio(asked.project)
        backend.webhook_login.ensure(label_studio, asked.project, place)
        problem = ""
        return {"model_version": version}
    except (BackendError, TrainingError) as error:
        problem = str(error)
        raise
    finally:
        backend.connections.note_problem(asked.project, problem)
        backend.recent.add(
            "setup",
            problem or "connected",
            project=project_number(asked.project),
            failed=bool(problem),
            milliseconds=1000 * (time.perf_counter() - started),
        )


def _tell_worker(asked: SetupRequest, projects: Projects) -> None:
    """Remember a project for the worker, which is another process.

    Label Studio does not connect one that is refused at first, so nothing is to be learned from it.
    """
    try:
        parse(asked.schema)
    except LabelingConfigError:
        if projects.find(asked.project) is None:
            raise
    # Nobody may connect again after a restart.
    projects.hear(asked.project, ProjectNews(label_config=asked.schema, hostname=asked.hostname))


def _checked(asked: SetupRequest, backend: Backend) -> str:
    parse(asked.schema)
    backend.connections.check(asked.project)
    backend.models.check(asked.project)
    return backend.pointer.live(asked.project).name
