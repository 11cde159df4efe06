"""What people can do about what is live: on the page, over REST, and by command alike."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import read_short_text
from ml_backend.short_text import shortened
from training.errors import VersionError
from training.store.live_pointer import Mover, pin, roll_back, unpin
from training.store.model_versions import ModelVersions
from training.store.version_decisions import choose, decline

LiveMove = Literal["promote", "keep", "rollback", "pin", "unpin"]
MOVES = get_args(LiveMove)
_WITHOUT_VERSION = {"rollback": roll_back, "pin": pin, "unpin": unpin}
_LONGEST_REASON = 500


def reason_in(values: Mapping[str, Any], default: str) -> str:
    """Return the "reason" of a body, a form or a command; `default` where there is none.

    Raises:
        RequestError: if it is no text, or longer than pages and answers show it again and again.
    """
    return read_short_text(values, "reason", _LONGEST_REASON) or default


def make_move(
    versions: ModelVersions, project: str, move: str, version: int | None, mover: Mover
) -> None:
    """Do what a person decided.

    Args:
        versions: the versions and what is live.
        project: key of the project; `training.store.live_pointer.SITE` for the site's default.
        move: one of `MOVES`.
        version: to promote, or to keep from going live; None for the other moves.
        mover: who decided, why, and in which state they saw what is live.

    Raises:
        RequestError: if the move is unknown, needs a version, or takes none.
        VersionError: if it cannot be done, or what is live was moved since they looked; no version
            goes live that is damaged, and none is promoted that does not answer.
        FileStoreError: if its files cannot be reached.
    """
    # Said before anything else; what moves the pointer makes sure of it once more.
    versions.require_seen(project, mover)
    if move in _WITHOUT_VERSION:
        if version is not None:
            raise RequestError(f"{move} takes no version: to make one live, promote it instead")
        if move == "rollback":
            _check_target(versions, project, mover)
        versions.move(partial(_WITHOUT_VERSION[move], project=project, mover=mover))
    elif move not in MOVES:
        raise RequestError(f"{shortened(move)!r} is not one of {', '.join(MOVES)}")
    elif version is None:
        raise RequestError(f"say which version to {move}")
    elif move == "keep":
        versions.move(partial(decline, project=project, number=version, mover=mover))
    else:
        _check_answer(versions.checkpoint(version), version)
        versions.move(partial(choose, project=project, number=version, mover=mover))


def _check_answer(checkpoint: Path, version: int) -> None:
    # Needs torch, which the commands that only move a pointer do not wait for.
    from icmformer.errors import CheckpointError
    from training.fine_tuning.serving_check import check_serves

    try:
        check_serves(checkpoint)
    except CheckpointError as error:
        raise VersionError(f"version {version} cannot be served: {error}") from error


def _check_target(versions: ModelVersions, project: str, mover: Mover) -> None:
    try:
        target, _ = versions.rollback_target(project)
        if target is not None:
            _check_files(versions, target)
    except VersionError:
        # Where somebody has moved what is live meanwhile, that is what there is to say.
        versions.require_seen(project, mover)
        raise


def _check_files(versions: ModelVersions, target: int) -> None:
    try:
        versions.checkpoint(target)
    except VersionError as error:
        raise VersionError(f"{error}; promote another version instead") from error
