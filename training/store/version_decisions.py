"""What the gate left to people: which versions wait for a decision, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from training.errors import VersionError
from training.moments import now
from training.store.live_pointer import (
    SITE,
    Mover,
    find_live,
    find_pointers,
    promote,
    require_seen,
)
from training.store.version_rows import LiveMoveRow, VersionAnswerRow, VersionRow, find_version

_OPEN_VERDICTS = ("ask", "promote")


@dataclass(frozen=True)
class OpenDecisions:
    """The versions that nobody has decided about.

    Attributes:
        waiting: those that were compared with what is live, and the project of each.
        superseded: those that were compared with what is live no more: of another live version
            what the gate said says nothing, until that is live again.
    """

    waiting: Mapping[int, str]
    superseded: frozenset[int]


def open_decisions(session: Session, *where: ColumnElement[bool]) -> OpenDecisions:
    """Return which versions were never live, were not answered about, and can still be made live.

    A better one is among them where somebody pinned the pointer while it was made.

    Args:
        session: of the database.
        where: conditions on `VersionRow` for the versions to look at; all by default.
    """
    compared_with = VersionRow.scores["compared_with"].as_integer()
    moves = select(LiveMoveRow.version).where(LiveMoveRow.version == VersionRow.number)
    answers = select(VersionAnswerRow.id).where(VersionAnswerRow.version == VersionRow.number)
    rows = select(VersionRow.number, VersionRow.project, compared_with).where(
        *where,
        VersionRow.verdict.in_(_OPEN_VERDICTS),
        VersionRow.weights != "",
        ~moves.exists(),
        ~answers.exists(),
    )
    pointers, waiting, superseded = find_pointers(session), dict[int, str](), set[int]()
    for number, project, compared in session.execute(rows):
        live = pointers.live(project or SITE)
        if live is not None and live.version == compared:
            waiting[number] = project or SITE
        else:
            superseded.add(number)
    return OpenDecisions(waiting, frozenset(superseded))


def choose(session: Session, project: str, number: int, mover: Mover) -> None:
    """Promote a version because a person says so; that answers what the gate left to people.

    Raises:
        VersionError: if it may not serve the project.
    """
    promote(session, project, number, mover)
    if _is_left_to(project, find_version(session, number)):
        _note_answer(session, number, "promoted", mover.by)


def decline(session: Session, project: str, number: int, mover: Mover) -> None:
    """Note, once, that a person keeps what is live for a project instead of this version.

    Raises:
        VersionError: if the gate left nothing to decide about it there, if it is live there, or if
            what is live was moved since the person looked.
    """
    require_seen(session, project, mover)
    version = find_version(session, number)
    live = find_live(session, project)
    if live is not None and live.version == number:
        raise VersionError(f"version {number} is live already: roll back to what was live before")
    if not _is_left_to(project, version):
        raise VersionError(
            f"version {number} waits for no decision: what is live stays so without one"
        )
    if latest_answer(session, number) != "kept":
        _note_answer(session, number, "kept", mover.by)


def _is_left_to(project: str, version: VersionRow) -> bool:
    """Return whether the gate left this version to people, who answer for all that may use it."""
    return version.verdict in _OPEN_VERDICTS and project in (version.project, SITE)


def _note_answer(session: Session, number: int, answer: str, by: str) -> None:
    session.add(VersionAnswerRow(version=number, answer=answer, by=by, at=now()))


def last_answer(session: Session, project: str) -> VersionAnswerRow | None:
    """Return the last answer about any version made for a project, None if there is none."""
    rows = select(VersionAnswerRow).join(VersionRow, VersionRow.number == VersionAnswerRow.version)
    rows = rows.where(VersionRow.project == project).order_by(VersionAnswerRow.id.desc())
    return session.scalars(rows.limit(1)).first()


def latest_answer(session: Session, number: int) -> str | None:
    """Return what was answered last about a version, None if nothing was."""
    rows = select(VersionAnswerRow.answer).where(VersionAnswerRow.version == number)
    return session.scalars(rows.order_by(VersionAnswerRow.id.desc()).limit(1)).first()
