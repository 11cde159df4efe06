"""What tells the stored files of an installation from those of others, and from none at all.

A client says of a bucket that does not exist that no file of it does, and a folder that is not
mounted is empty: then every file counts as lost. So an installation has a random name, in a row of
its database and as a small file beside the others. Where the row exists no program ever writes
that file again; only a person does, who knows that the files are lost for good.
"""

import logging
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from training.errors import FileStoreError, StoredFileError
from training.store.database import Base, Database
from training.store.stored_files import StoredFiles
from training.store.version_files import VERSIONS

logger = logging.getLogger(__name__)

_FOLDER = "installation"


class InstallationRow(Base):
    """The name of the installation that keeps this database; one row."""

    __tablename__ = "installation"

    name: Mapped[str] = mapped_column(primary_key=True)


def begin_installation(database: Database, files: StoredFiles) -> None:
    """Give an installation its name, unless it has one; of two that begin at once, one does.

    The file is written first: a program that is killed leaves one that means nothing.

    Raises:
        FileStoreError: if the file cannot be stored, or there are versions of another installation:
            the database is not theirs, and may be empty because it was lost.
    """
    if _name(database) is not None:
        return
    # Whoever began at the same time may have stored its first version meanwhile.
    if files.keys(VERSIONS) and _name(database) is None:
        raise FileStoreError(
            f"{files.place(VERSIONS)} holds versions of another database, and this one is new: put "
            "the other one back (a backup of MODEL_DIR, the former ICMFORMER_DATABASE_URL); to "
            "begin anew, move the files away or name an empty place as ICMFORMER_FILES_URL"
        )
    name = secrets.token_hex(8)
    # Not empty: some tools leave out what is.
    files.write(_key(name), name.encode())
    with database.write() as session:
        if session.scalar(select(InstallationRow.name)) is None:
            session.add(InstallationRow(name=name))
            logger.info("a new installation begins, with its files in %s", files.place(""))


def require_own_files(database: Database, files: StoredFiles) -> None:
    """Refuse to go on where the stored files are not those that this database knows.

    Raises:
        FileStoreError: if they are not, or cannot be reached.
    """
    name = _name(database)
    if name is None:
        raise FileStoreError(
            "this database knows of no stored files, and whose they are cannot be told: set "
            "ICMFORMER_DATABASE_URL and ICMFORMER_FILES_URL as for serve and work, and start one "
            "of these first"
        )
    try:
        files.read(_key(name))
    except StoredFileError as error:
        raise FileStoreError(
            f"{error}, so nothing there is of this installation: mount its folder, or let "
            "ICMFORMER_FILES_URL name where its files are; if they are lost for good, put a file "
            "of that name there"
        ) from error


def _name(database: Database) -> str | None:
    with database.read() as session:
        return session.scalar(select(InstallationRow.name))


def _key(name: str) -> str:
    return f"{_FOLDER}/{name}"
