"""Which version is live: a pointer per project over a site-wide default, moved and never lost.

Every move is a row, so what was live when is known, and a rollback walks the promotions back one
by one, down to following the site again. It steps over versions that were swept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from training.errors import OvertakenError, VersionError
from training.moments import now
from training.store.version_rows import LiveMoveRow, Move, VersionRow, find_version

SITE = ""  # the project name of the site-wide default


@dataclass(frozen=True)
class Live:
    """What a project is served with.

    Attributes:
        version: its number.
        pinned: whether a person keeps it.
        own: whether by the project's own pointer or the site's.
        state: how often both were moved so far: another once either has moved, until the project is
            forgotten.
    """

    version: int
    pinned: bool
    own: bool
    state: int


@dataclass(frozen=True)
class Mover:
    """Who moves a pointer and why, for the history.

    Attributes:
        by: who.
        reason: why.
        saw: the state of what was live when they looked; they decide nothing about another. None
            for whoever decides without having looked.
    """

    by: str
    reason: str
    saw: int | None = None


class Pointers:
    """Where the pointers of projects and site stood when they were read."""

    def __init__(self, last_moves: Mapping[str, LiveMoveRow | None]) -> None:
        """Take the last move of each project that has a pointer of its own, and of `SITE`."""
        self._last_moves = last_moves

    def live(self, project: str) -> Live | None:
        """Return what is live for a project, or None where nothing was ever made live."""
        moves = self.last_moves(project)
        for last in moves:
            if last.version is not None:
                state = sum(move.sequence for move in moves)
                return Live(last.version, last.pinned, last.project == project, state)
        return None

    def last_moves(self, project: str) -> list[LiveMoveRow]:
        """Return the last moves that a project is served by: its own first, then the site's."""
        owners = dict.fromkeys((project, SITE))
        return [last for owner in owners if (last := self._last_moves.get(owner))]


def find_live(session: Session, project: str) -> Live | None:
    """Return what is live for a project, or None where nothing was ever made live."""
    return _pointers_of(session, project).live(project)


def find_pointers(session: Session) -> Pointers:
    """Return all pointers, with one query however many projects there are."""
    last = select(LiveMoveRow.project, func.max(LiveMoveRow.sequence)).group_by(LiveMoveRow.project)
    rows = select(LiveMoveRow).where(tuple_(LiveMoveRow.project, LiveMoveRow.sequence).in_(last))
    return Pointers({row.project: row for row in session.scalars(rows)})


def moves_of(
    session: Session, project: str, newest: int | None = None, before: int | None = None
) -> list[LiveMoveRow]:
    """Return every move of a project's own pointer, or the last so many, oldest first.

    `before` leaves out those whose `sequence` is not below it.
    """
    rows = select(LiveMoveRow).where(LiveMoveRow.project == project)
    if before is not None:
        rows = rows.where(LiveMoveRow.sequence < before)
    rows = rows.order_by(LiveMoveRow.sequence.desc()).limit(newest)
    return list(reversed(session.scalars(rows).all()))


def require_seen(session: Session, project: str, mover: Mover) -> None:
    """Refuse a decision about something else than what is live: somebody was faster.

    Raises:
        OvertakenError: if the project's pointer or the site's, to which a rollback may lead, was
            moved since the mover looked.
    """
    pointers = _pointers_of(session, project)
    live = pointers.live(project)
    if mover.saw in (None, live and live.state):
        return
    raise OvertakenError(
        f"{_news(pointers.last_moves(project), live)}: look again, and ask once more if it is "
        "still wanted"
    )


def promote(session: Session, project: str, version: int, mover: Mover) -> None:
    """Point at this version, freely: a pin is taken off by whoever promotes.

    Raises:
        VersionError: if the version does not exist, was swept, or belongs to another project and
            does not serve the site either.
    """
    row = find_version(session, version)
    if (
        project != SITE
        and row.project not in (None, project)
        and not _serves_site(session, version)
    ):
        raise VersionError(f"version {version} was made for another project: promote another one")
    if row.is_swept:
        raise VersionError(row.swept_sentence)
    _add_move(session, project, "promote", version, False, mover)


def roll_back(session: Session, project: str, mover: Mover) -> None:
    """Undo the last promotion that is still in force.

    Raises:
        VersionError: if there is nothing to go back to.
    """
    require_seen(session, project, mover)  # first: perhaps somebody has just gone back
    _add_move(session, project, "rollback", _earlier(session, project), False, mover)


def rollback_target(session: Session, project: str) -> tuple[int | None, bool]:
    """Return what would be live after a rollback, None for nothing, and whether as the site's.

    Raises:
        VersionError: if there is nothing to go back to.
    """
    earlier = _earlier(session, project)
    if earlier is not None:
        return earlier, False
    site = find_live(session, SITE)
    return (None if site is None else site.version), True


def in_use(session: Session) -> set[int]:
    """Return the versions that are live, or would be after a rollback, somewhere."""
    owners = session.scalars(select(LiveMoveRow.project).distinct()).all()
    return {version for owner in owners for version in way_back(session, owner)[:2]}


def way_back(session: Session, project: str) -> list[int]:
    """Return where a project's own pointer is, then where one rollback after the other leads.

    Empty where the project follows the site, as it does after the last of them.
    """
    pointed_at = _in_force(moves_of(session, project))
    rows = select(VersionRow.number).where(VersionRow.weights != "")
    whole = set(session.scalars(rows.where(VersionRow.number.in_(pointed_at))))
    # Going back to what is live leads nowhere: it was pinned, or what lay between is gone.
    return [number for number, _ in groupby(n for n in reversed(pointed_at) if n in whole)]


def pin(session: Session, project: str, mover: Mover) -> None:
    """Keep what is live now until a person moves it: candidates are judged, not promoted.

    Pinning what its own pointer has pinned is no other move.

    Raises:
        VersionError: if nothing is live.
    """
    require_seen(session, project, mover)
    live = find_live(session, project)
    if live is None:
        raise VersionError("there is no live version to pin")
    if live.pinned and live.own:
        return
    _add_move(session, project, "pin", live.version, True, mover)


def unpin(session: Session, project: str, mover: Mover) -> None:
    """Let better candidates be promoted again; a project that followed the site follows it again.

    Raises:
        VersionError: if nothing is pinned.
    """
    require_seen(session, project, mover)
    live = find_live(session, project)
    if live is None or not (live.pinned and live.own):
        raise VersionError("nothing is pinned here")
    before = [move.version for move in moves_of(session, project) if move.move != "pin"]
    version = live.version if before and before[-1] is not None else None
    _add_move(session, project, "unpin", version, False, mover)


def _news(last_moves: list[LiveMoveRow], live: Live | None) -> str:
    if live is None:
        return "nothing is live now"
    last = max(last_moves, key=lambda move: move.at)
    whose = "the site" if last.project == SITE else "this project"
    pinned = " and pinned" if live.pinned else ""
    return (
        f"what is live was moved since you looked, last by {last.by} ({last.move}, for {whose}), "
        f"and version {live.version} is live{pinned} now"
    )


def _serves_site(session: Session, version: int) -> bool:
    site = find_live(session, SITE)
    return site is not None and site.version == version


def _earlier(session: Session, project: str) -> int | None:
    back = way_back(session, project)
    if not back or (project == SITE and len(back) == 1):
        raise VersionError("there is no earlier version to go back to")
    return back[1] if len(back) > 1 else None


def _in_force(moves: Iterable[LiveMoveRow]) -> list[int]:
    """Return what was pointed at and not rolled back, the current one last.

    What was swept is among it, and one version twice where a move changed nothing.
    """
    stack: list[int] = []
    for move in moves:
        if move.version is None:
            stack.clear()
        elif move.move == "rollback":
            while stack[-1] != move.version:
                stack.pop()
        else:
            stack.append(move.version)
    return stack


def _pointers_of(session: Session, project: str) -> Pointers:
    return Pointers({owner: _last_move(session, owner) for owner in (project, SITE)})


def _last_move(session: Session, project: str) -> LiveMoveRow | None:
    rows = select(LiveMoveRow).where(LiveMoveRow.project == project)
    return session.scalars(rows.order_by(LiveMoveRow.sequence.desc()).limit(1)).first()


def _add_move(
    session: Session, project: str, move: Move, version: int | None, pinned: bool, mover: Mover
) -> None:
    require_seen(session, project, mover)
    last = _last_move(session, project)
    session.add(
        LiveMoveRow(
            project=project,
            sequence=1 if last is None else last.sequence + 1,
            move=move,
            version=version,
            pinned=pinned,
            by=mover.by,
            reason=mover.reason,
            at=now(),
        )
    )
    session.flush()
