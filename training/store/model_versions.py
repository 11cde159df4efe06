"""Model versions: immutable, numbered, with the story of how each was made.

A version is a row and two stored files, the weights and their description. Nobody changes either.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import CTE, ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from training.errors import FileStoreError, VersionError
from training.moments import now
from training.store.database import Database
from training.store.installation import InstallationRow, begin_installation, require_own_files
from training.store.live_pointer import (
    SITE,
    Live,
    Mover,
    Pointers,
    find_live,
    find_pointers,
    in_use,
    moves_of,
    promote,
    require_seen,
    rollback_target,
    way_back,
)
from training.store.stored_files import StoredFiles
from training.store.version_decisions import OpenDecisions, latest_answer, open_decisions
from training.store.version_files import VersionFiles, read_pair, sha256
from training.store.version_rows import (
    LiveMoveRow,
    VersionAnswerRow,
    VersionRow,
    find_version,
    give_up_weights,
)

INSTALLATION = "installation"


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that becomes a version.

    Attributes:
        origin: what made it, such as ``job 12``; publishing the same origin twice is once.
        checkpoint: the ``.safetensors`` file; its description lies beside it as ``.json``.
        stem: what its name begins with; "v" and its number by default.
        project: the project it was made for; None for one that any project may use.
        parent: the version it started from.
        data_fingerprint: of the snapshot it was trained on.
        recipe: how it was trained.
        scores: what the gate compared, as numbers.
        verdict: what the gate said: ``promote``, ``keep`` or ``ask``; ``base`` without a gate.
        reasons: the gate's sentences.
        report: key of the stored report.
    """

    origin: str
    checkpoint: Path
    stem: str = ""
    project: str | None = None
    parent: int | None = None
    data_fingerprint: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    verdict: str = "base"
    reasons: tuple[str, ...] = ()
    report: str | None = None


class ModelVersions:
    """The versions and what is live; safe to share between threads and processes."""

    def __init__(self, database: Database, files: StoredFiles) -> None:
        """Open the versions, creating their tables where they do not exist."""
        self._database = database
        self._files = files
        self._version_files = VersionFiles(files)
        database.create(InstallationRow, VersionRow, VersionAnswerRow, LiveMoveRow)

    def register_base(self, checkpoint: Path) -> int:
        """Make a checkpoint a version that any project may use, and the first one live everywhere.

        Returns:
            The number of the version, the same for the same files.

        Raises:
            VersionError: if the checkpoint cannot be read.
            FileStoreError: if its files cannot be stored.
        """
        weights, description = read_pair(checkpoint)
        origin = f"base {sha256(weights)[:16]} {sha256(description)[:16]}"
        number = self.publish(Candidate(origin, checkpoint, checkpoint.stem))
        with self._database.write() as session:
            if not moves_of(session, SITE):
                promote(session, SITE, number, _installation(checkpoint))
        return number

    def install(self, checkpoint: Path) -> int:
        """Make the checkpoint that an installation is to serve the site's default.

        A default that people chose stays; one that an earlier installation set is replaced, also
        by one that was the default before.

        Returns:
            The number of the version, the same for the same files.

        Raises:
            VersionError, FileStoreError: as of `register_base`.
        """
        number = self.register_base(checkpoint)
        with self._database.write() as session:
            moves = moves_of(session, SITE)
            chosen_by_people = any(move.by != INSTALLATION for move in moves)
            if not chosen_by_people and moves[-1].version != number:
                promote(session, SITE, number, _installation(checkpoint))
        return number

    def mend(self, number: int, checkpoint: Path) -> None:
        """Store the files of a version anew, from what it was made of, unless they are whole.

        Raises:
            VersionError: if there is no such version, or the checkpoint cannot be read.
            FileStoreError: if they cannot be stored.
        """
        require_own_files(self._database, self._files)
        if not self.is_whole(number):
            self._store(self.get(number), checkpoint)

    def publish(self, candidate: Candidate) -> int:
        """Store a candidate's files and give it a number; the live pointer does not move.

        Raises:
            VersionError: if the checkpoint cannot be read.
            FileStoreError: if its files cannot be stored, or those there are not ours.
        """
        published = self.made_by(candidate.origin)
        if published is not None:
            return published.number
        row = _row_of(candidate)
        self._store(row, candidate.checkpoint)
        with self._database.write() as session:
            known = select(VersionRow.number).where(VersionRow.origin == candidate.origin)
            number = session.scalar(known)
            if number is not None:
                return number
            session.add(row)
            session.flush()
            return row.number

    def _store(self, row: VersionRow, checkpoint: Path) -> None:
        begin_installation(self._database, self._files)
        require_own_files(self._database, self._files)
        self._version_files.store(row, checkpoint)

    def get(self, number: int) -> VersionRow:
        """Return everything known about a version.

        Raises:
            VersionError: if there is no such version.
        """
        with self._database.read() as session:
            return find_version(session, number)

    def made_by(self, origin: str) -> VersionRow | None:
        """Return the version that this origin published, if it did."""
        with self._database.read() as session:
            return session.scalar(select(VersionRow).where(VersionRow.origin == origin))

    def usable_by(
        self, project: str, before: int | None = None, most: int | None = None
    ) -> list[VersionRow]:
        """Return the versions a project may be served with, newest first.

        Of those made for other projects, the one that serves it, or the site, is among them.

        Args:
            project: whose versions.
            before: only those of lower numbers.
            most: how many; all by default.
        """
        with self._database.read() as session:
            rows = select(VersionRow).where(*_usable(session, project, before))
            return list(session.scalars(rows.order_by(VersionRow.number.desc()).limit(most)))

    def count_usable_by(self, project: str, before: int | None = None) -> int:
        """Return how many versions `usable_by` would list."""
        with self._database.read() as session:
            rows = select(func.count(VersionRow.number)).where(*_usable(session, project, before))
            return session.scalars(rows).one()

    def may_use(self, project: str, number: int) -> bool:
        """Return whether a project may be served with this version."""
        with self._database.read() as session:
            rows = select(VersionRow.number).where(*_usable(session, project))
            return session.scalar(rows.where(VersionRow.number == number)) is not None

    def is_in_line(self, project: str, number: int) -> bool:
        """Return whether a project may be served with this version or one that descends from it."""
        with self._database.read() as session:
            line = _line(*_usable(session, project))
            return session.scalar(select(line.c.number).where(line.c.number == number)) is not None

    def children(self, project: str, number: int) -> list[int]:
        """Return the versions that a project may use and that started from this one."""
        with self._database.read() as session:
            rows = select(VersionRow.number).where(*_usable(session, project))
            rows = rows.where(VersionRow.parent == number).order_by(VersionRow.number)
            return list(session.scalars(rows))

    def descent(self, number: int) -> set[int]:
        """Return a version, the one it started from, and so on to the first."""
        with self._database.read() as session:
            return set(session.scalars(select(_line(VersionRow.number == number).c.number)))

    def live(self, project: str) -> Live | None:
        """Return what is live for a project; one short query."""
        with self._database.read() as session:
            return find_live(session, project)

    def pointers(self) -> Pointers:
        """Return what is live everywhere; one short query."""
        with self._database.read() as session:
            return find_pointers(session)

    def history(
        self, project: str, newest: int | None = None, before: int | None = None
    ) -> list[LiveMoveRow]:
        """Return the moves of a project's own pointer, oldest first; `SITE` for the default.

        Args:
            project: whose.
            newest: only the last so many.
            before: only those before this one, by its `sequence`.
        """
        with self._database.read() as session:
            return moves_of(session, project, newest, before)

    def rollback_target(self, project: str) -> tuple[int | None, bool]:
        """Return what would be live after a rollback, None for nothing, and whether as the site's.

        Raises:
            VersionError: if there is nothing to go back to.
        """
        with self._database.read() as session:
            return rollback_target(session, project)

    def way_back(self, project: str) -> list[int]:
        """Return where a project's own pointer is, then where one rollback after another leads."""
        with self._database.read() as session:
            return way_back(session, project)

    def require_seen(self, project: str, mover: Mover) -> None:
        """Raise VersionError if what is live was moved since the mover looked."""
        with self._database.read() as session:
            require_seen(session, project, mover)

    def move(self, action: Callable[[Session], None]) -> None:
        """Move a live pointer, or answer for a person, all of it or nothing.

        Args:
            action: of `live_pointer` or `version_decisions`.
        """
        with self._database.write() as session:
            action(session)

    def projects(self) -> set[str]:
        """Return the projects that versions were made for."""
        rows = select(VersionRow.project).where(VersionRow.project.is_not(None)).distinct()
        with self._database.read() as session:
            return {project for project in session.scalars(rows) if project}

    def forget(self, project: str) -> list[int]:
        """Delete a project's pointer, and the versions made for it that nothing else refers to.

        Of those that stay, the reports go, which show the project's images, and the weights, but
        where another pointer is at them or would be after a rollback. `sweep` deletes the files.
        Called again, it takes the weights that have fallen out of use since.

        Returns:
            The versions that stay: another pointer has been at them, or they are parents.
        """
        theirs = select(VersionRow).where(VersionRow.project == project)
        stay = []
        with self._database.write() as session:
            session.execute(delete(LiveMoveRow).where(LiveMoveRow.project == project))
            used_elsewhere = in_use(session)
            for row in session.scalars(theirs.order_by(VersionRow.number.desc())).all():
                if _is_referred_to(session, row.number):
                    stay.append(row.number)
                    row.report = None
                    if row.number not in used_elsewhere:
                        give_up_weights(session, [row.number])
                    continue
                answers = delete(VersionAnswerRow).where(VersionAnswerRow.version == row.number)
                session.execute(answers)
                session.delete(row)
        return stay

    def promote_if_live(self, project: str, number: int, compared_with: int, mover: Mover) -> bool:
        """Promote, unless the pointer was pinned or moved, or a person kept the other version.

        Returns:
            Whether it is live, whoever promoted it, or was promoted by an earlier call of the same
            mover: what people did with the pointer after that stays.
        """
        with self._database.write() as session:
            moved = {(move.version, move.by) for move in moves_of(session, project)}
            if (number, mover.by) in moved:
                return True
            live = find_live(session, project)
            if live is not None and live.version == number:
                return True
            if live is None or live.pinned or live.version != compared_with:
                return False
            if latest_answer(session, number) == "kept":
                return False
            promote(session, project, number, mover)
            return True

    def open_decisions(self, *where: ColumnElement[bool]) -> OpenDecisions:
        """Return what was left to people, of the versions for which these conditions hold."""
        with self._database.read() as session:
            return open_decisions(session, *where)

    def answers(self, numbers: Collection[int]) -> dict[int, VersionAnswerRow]:
        """Return the latest answer about each of these versions that has one."""
        rows = select(VersionAnswerRow).where(VersionAnswerRow.version.in_(numbers))
        with self._database.read() as session:
            return {row.version: row for row in session.scalars(rows.order_by(VersionAnswerRow.id))}

    def checkpoint(self, number: int) -> Path:
        """Return a local path of a version's weights after comparing both files with their hashes.

        Raises:
            VersionError: if the version does not exist, its files were swept, or one of them is
                missing, damaged or cannot be read.
            FileStoreError: if the store cannot be reached.
        """
        return self._version_files.checkpoint(self.get(number))

    def is_whole(self, number: int) -> bool:
        """Return whether a version's files can be had as they were when it was published."""
        try:
            self.checkpoint(number)
        except (VersionError, FileStoreError):
            return False
        return True


def version_name(row: VersionRow) -> str:
    """Return the name of a version that predictions carry, such as ``v7-3fa9c1d0``."""
    return f"{row.stem or f'v{row.number}'}-{row.weights_sha256[:8]}"


def _usable(session: Session, project: str, before: int | None = None) -> list[ColumnElement[bool]]:
    conditions = [] if before is None else [VersionRow.number < before]
    if project != SITE:
        serving = [find_live(session, owner) for owner in (project, SITE)]
        conditions.append(
            (VersionRow.project == project)
            | VersionRow.project.is_(None)
            | VersionRow.number.in_({live.version for live in serving if live})
        )
    return conditions


def _line(*where: ColumnElement[bool]) -> CTE:
    """Return versions and all that they descend from, by number and parent."""
    columns = select(VersionRow.number, VersionRow.parent)
    line = columns.where(*where).cte(recursive=True)
    return line.union(columns.where(VersionRow.number == line.c.parent))


def _is_referred_to(session: Session, number: int) -> bool:
    moves = select(LiveMoveRow.version).where(LiveMoveRow.version == number)
    children = select(VersionRow.number).where(VersionRow.parent == number)
    return any(session.scalars(rows.limit(1)).first() is not None for rows in (moves, children))


def _installation(checkpoint: Path) -> Mover:
    return Mover(INSTALLATION, f"shipped as {checkpoint.name}")


def _row_of(candidate: Candidate) -> VersionRow:
    about = {name: value for name, value in vars(candidate).items() if name != "checkpoint"}
    return VersionRow(**about, created_at=now())
