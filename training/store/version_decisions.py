"""What the gate left to people: which versions wait for a decision, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from training.moments import now
from training.store.live_pointer import SITE, find_pointers
from training.store.version_rows import LiveMoveRow, VersionAnswerRow, VersionRow

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


def ever_live(session: Session) -> set[int]:
    """Return the versions that were live at some time, somewhere."""
    rows = select(LiveMoveRow.version).where(LiveMoveRow.version.is_not(None)).distinct()
    return set(session.scalars(rows))


def note_answer(session: Session, number: int, answer: str, by: str) -> None:
    """Note what a person answered about a version."""
    session.add(VersionAnswerRow(version=number, answer=answer, by=by, at=now()))


def latest_answer(session: Session, number: int) -> str | None:
    """Return what was answered last about a version, None if nothing was."""
    rows = select(VersionAnswerRow.answer).where(VersionAnswerRow.version == number)
    return session.scalars(rows.order_by(VersionAnswerRow.id.desc()).limit(1)).first()
