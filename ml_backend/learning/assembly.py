"""Everything the learning side keeps, put together once a process; the settings say where.

Free of torch, like `ml_backend.serving.versions`.
"""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ml_backend.errors import SettingsError
from ml_backend.learning.fine_tune_jobs import FineTuneJobs
from ml_backend.learning.inbox import Inbox
from ml_backend.learning.job_folders import JobFolders
from ml_backend.learning.projects import Projects
from ml_backend.learning.sign_of_life import SignOfLife
from ml_backend.serving.versions import default_version
from ml_backend.settings import Settings
from training.store.database import Database
from training.store.installation import begin_installation, require_own_files
from training.store.live_pointer import SITE
from training.store.model_versions import ModelVersions
from training.store.samples import SampleStore
from training.store.stored_files import StoredFiles
from training.store.stores import Stores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learning:
    """The collaborators; each is safe to share between threads and processes.

    As a context manager, it closes the databases in the end.
    """

    settings: Settings
    stores: Stores
    inbox: Inbox
    projects: Projects
    samples: SampleStore
    jobs: FineTuneJobs
    job_folders: JobFolders
    sign_of_life: SignOfLife

    def forget(self, project: str) -> list[int]:
        """Delete everything that is kept of a project but its stored files, which `sweep` finds.

        It may be killed and called again.

        Args:
            project: its key.

        Returns:
            Versions of which something stays: the site or another project has been served with
            them or one that descends from them. The weights stay of those that it is served with
            now, or would be after a rollback.

        Raises:
            JobError: if a job of the project runs.
            FileStoreError: if what the project stored is not where this process looks.
        """
        require_own_files(self.stores.database, self.stores.files)
        self.jobs.recover()  # one whose worker died does not run
        self.job_folders.delete(self.jobs.forget(project))
        self.inbox.forget(project)
        self.samples.forget(project)
        stay = self.stores.versions.forget(project)
        self.projects.forget(project)
        self.stores.database.empty_log()
        return stay

    def forget_leftovers(self) -> None:
        """Delete what of forgotten projects is there again, or has gone out of use.

        A worker in the middle of it stored samples; weights served elsewhere, and do so no more.
        """
        # first: a project is known before its samples
        stored = self.samples.projects() | self.stores.versions.projects()
        for project in stored - {known.key for known in self.projects.all()}:
            self.samples.forget(project)
            self.stores.versions.forget(project)

    def __enter__(self) -> "Learning":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the databases."""
        self.inbox.close()
        self.stores.database.close()


def open_learning(settings: Settings) -> Learning:
    """Open the stores as `make_learning` does; where nothing is live yet, register what ships.

    Raises:
        DatabaseError: as of `make_learning`.
        SettingsError: as of `make_learning`, and if the checkpoint of the settings cannot be read.
        VersionError: if that checkpoint is not complete.
        FileStoreError: as of `make_learning`, and if it cannot be stored.
    """
    learning = make_learning(settings)
    begin_installation(learning.stores.database, learning.stores.files)
    base = default_version(settings.checkpoint)
    if base.weights is not None and learning.stores.versions.live(SITE) is None:
        learning.stores.versions.register_base(base.weights)
    return learning


def open_kept_learning(settings: Settings) -> Learning:
    """Open the stores that `serve` or `work` has made: an empty one would answer anything.

    Raises:
        DatabaseError: as of `make_learning`.
        SettingsError: if there are none, and as of `make_learning`.
        FileStoreError: as of `make_learning`.
    """
    # With another database, the folder holds nothing at first; a mistaken one is still not made.
    kept = settings.model_dir if settings.database_url else settings.state_folder.database
    if not kept.exists():
        raise SettingsError(
            f"MODEL_DIR {settings.model_dir} holds nothing that serve or work has kept ({kept} "
            "does not exist): give this command the environment of serve, MODEL_DIR above all"
        )
    return make_learning(settings)


def make_learning(settings: Settings) -> Learning:
    """Open the stores, creating what does not exist.

    Raises:
        DatabaseError: if the database cannot be opened.
        SettingsError: if the stores cannot be written to.
        FileStoreError: if ICMFORMER_FILES_URL is of no known kind, or its package not installed.
    """
    try:
        return _make(settings)
    except OSError as error:
        elsewhere = " and ICMFORMER_FILES_URL" if settings.files_url else ""
        raise SettingsError(
            f"nothing can be stored: {error}; let the user of this process (uid {os.getuid()}) "
            f"write to MODEL_DIR {settings.model_dir}{elsewhere}, or name another folder"
        ) from error


def _make(settings: Settings) -> Learning:
    # What webhooks bring holds tokens and logins of Label Studio.
    settings.model_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Of a folder that is not writable, SQLite says only that it cannot open its file.
    with tempfile.TemporaryFile(dir=settings.model_dir):
        pass
    for place in (settings.database, settings.inbox_database):
        _close_to_others(place)
    database = Database(settings.database)
    files = StoredFiles(settings.files, settings.state_folder.downloads)
    jobs = FineTuneJobs(database)
    return Learning(
        settings=settings,
        stores=Stores(database, files, ModelVersions(database, files)),
        inbox=Inbox(Database(settings.inbox_database)),
        projects=Projects(database),
        samples=SampleStore(database, files),
        jobs=jobs,
        job_folders=JobFolders(settings.state_folder.jobs, jobs),
        sign_of_life=SignOfLife(database),
    )


def _close_to_others(place: Path | str) -> None:
    """Make the file of a database before SQLite does, for the user's and the group's eyes only.

    The folder may be an older one that others may enter, and SQLite makes its further files with
    the mode of the first. Server and worker may be two users of a group.
    """
    if isinstance(place, Path) and not place.exists():
        place.touch(mode=0o660)
