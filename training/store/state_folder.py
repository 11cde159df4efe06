"""The folder in which a backend keeps its state, its MODEL_DIR, where no other place is named."""

from pathlib import Path


class StateFolder:
    """Where things are in it. Paths and no addresses: any character may be in the folder's name.

    Attributes:
        database: the file of the SQLite database.
        inbox: the file of the SQLite database that webhooks go to.
        queue: the file of the SQLite database of hints to the worker.
        files: the folder of images, masks and weights.
        downloads: the folder of copies of stored files that are kept elsewhere.
        jobs: the folder of what jobs write while they run, and of their logs.
        scores: the folder of what versions scored on retention sets.
        last_click: the file whose time is that of the last click.
    """

    def __init__(self, path: Path) -> None:
        """Name what is in a folder; nothing is made."""
        self.database = path / "state.db"
        self.inbox = path / "inbox.db"
        self.queue = path / "queue.db"
        self.files = path / "files"
        self.downloads = path / "downloads"
        self.jobs = path / "jobs"
        self.scores = path / "scores"
        self.last_click = path / "last-click"
