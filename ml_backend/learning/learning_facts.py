"""What there is to know about projects, jobs and versions, as plain data for the page and REST."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ml_backend.label_studio.addresses import origin
from ml_backend.learning.assembly import Learning
from ml_backend.learning.attention import Need, look
from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.next_job import next_job
from ml_backend.learning.projects import ProjectRow
from training.store.live_pointer import SITE
from training.store.model_versions import ModelVersions, version_name
from training.store.sample_overview import noteworthy_annotations, sample_counts, sample_growth
from training.store.version_decisions import last_answer
from training.store.version_rows import LiveMoveRow, VersionAnswerRow, VersionRow

_LOG_BYTES = 64_000
Facts = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Which part of a list is wanted: the newest so many, of the numbers below `before` alone."""

    most: int | None = None
    before: int | None = None


_ALL = Part()
_SHOWN_MOVES = Part(100)


def project_list(learning: Learning) -> Facts:
    """Return every project that was ever seen, the one heard of last first, and what they share."""
    seen = look(learning)
    return {
        "projects": [
            {
                **_project_facts(learning, project),
                "needs_you": asdict(seen.needs.get(project.key, Need())),
            }
            for project in learning.projects.all()
        ],
        "site": live_facts(learning, SITE),
        "worker": {"seen_at": _text(seen.worker_seen_at), "problem": seen.worker_problem},
    }


def _project_facts(learning: Learning, project: ProjectRow) -> Facts:
    samples = sample_counts(learning.stores.database, project.key)
    backlog = learning.inbox.backlog(project.key)
    return {
        "key": project.key,
        "number": project.number,
        "title": project.shown_title,
        "state": project.state,
        "live": live_facts(learning, project.key),
        "samples": {
            "total": samples.samples,
            "images": samples.images,
            "by_split": samples.by_split,
            "by_label": samples.by_label,
        },
        "messages": {
            "waiting": backlog.waiting,
            "oldest": _text(backlog.oldest),
            "waiting_problem": backlog.waiting_problem,
            "failed": backlog.failed,
            "failed_problem": backlog.failed_problem,
        },
        "reconciled": {
            "at": _text(project.reconciled_at),
            "note": project.told,
            "problem": project.reconcile_problem,
            "failed_at": _text(project.reconcile_failed_at),
            "asked_at": _text(project.reconcile_asked_at),
        },
    }


def live_facts(learning: Learning, project: str) -> Facts | None:
    """Return what is live for a project, `SITE` for the default; None if nothing is."""
    live = learning.stores.versions.live(project)
    if live is None:
        return None
    name = version_name(learning.stores.versions.get(live.version))
    return {**asdict(live), "name": name}


def annotations_to_look_at(learning: Learning, project: ProjectRow) -> Facts:
    """Return annotations without their mask and unreadable ones; then what was left out of others.

    What was left out alike is said once, with some of the tasks. Of the rest, only how many there
    are.
    """
    # For people's browsers: LABEL_STUDIO_URL may be a name that only containers know. What /setup
    # brought is not ours, so it becomes a link only if it is an address.
    told = project.hostname if origin(project.hostname) else ""
    address = (told or learning.settings.label_studio_url or "").rstrip("/")
    tasks = f"{address}/projects/{project.number}/data?task="
    noteworthy = noteworthy_annotations(learning.stores.database, project.key)
    shown = [
        {
            "annotation": row.annotation,
            "task": row.task,
            "status": row.status,
            "labels_without_mask": row.labels_without_mask,
            "notes": row.notes,
            "address": f"{tasks}{row.task}",
        }
        for row in noteworthy.urgent
    ]
    left_out = [
        {
            "notes": kind.notes,
            "annotations": kind.annotations,
            "tasks": [{"task": task, "address": f"{tasks}{task}"} for task in kind.tasks],
        }
        for kind in noteworthy.left_out
    ]
    return {
        "to_look_at": shown,
        "more_to_look_at": noteworthy.more_urgent,
        "left_out": left_out,
        "more_left_out": noteworthy.more_left_out,
    }


def job_facts(job: JobRow) -> Facts:
    """Return what is known of a job."""
    return {
        "job": job.id,
        "project": job.project,
        "state": job.state,
        "reasons": job.reasons,
        "requested_at": _text(job.requested_at),
        "started_at": _text(job.started_at),
        "finished_at": _text(job.finished_at),
        "attempts": job.attempts,
        "beat_at": _text(job.beat_at),
        "silent": job.is_silent,
        "cancelling": job.cancel and job.state == "running",
        "cancelled_too_late": job.cancel and job.state == "finished",
        "stage": job.stage,
        "done": job.done,
        "total": job.total,
        "seconds_left": job.seconds_left,
        "result": job.result,
        "message": job.message,
        "version": job.version,
    }


def log_tail(learning: Learning, job: JobRow, lines: int = 40) -> str:
    """Return the last lines of a job's log."""
    path = learning.job_folders.log(job)
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LOG_BYTES, 0))
        text = file.read().decode(errors="replace")
    # a progress bar writes over its own line; only what it wrote last would be seen
    written = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.rstrip().split("\n")]
    return "\n".join(written[-lines:])


def job_list(learning: Learning, project: str, part: Part) -> Facts:
    """Return the jobs of a project, newest first, and how many older ones there are."""
    jobs = learning.jobs.of_project(project, part.most, part.before)
    older = learning.jobs.count(project, jobs[-1].id) if jobs else 0
    return {"jobs": [job_facts(job) for job in jobs], "more_jobs": older}


def version_list(learning: Learning, project: str, part: Part = _ALL) -> Facts:
    """Return the versions a project may be served with, newest first, and how many are older."""
    shown = _versions(learning, project, part)
    count = learning.stores.versions.count_usable_by
    older = count(project, shown[-1]["version"]) if shown else 0
    return {"versions": shown, "more_versions": older}


def _versions(learning: Learning, project: str, part: Part) -> list[Facts]:
    versions = learning.stores.versions
    live = versions.live(project)
    rows = versions.usable_by(project, part.before, part.most)
    ancestors = versions.descent(live.version) if live else set()
    return [
        {
            **facts,
            "live": live is not None and row.number == live.version,
            "ancestor": row.number in ancestors,
        }
        for row, facts in zip(rows, _all_version_facts(versions, rows), strict=True)
    ]


def version_facts(versions: ModelVersions, number: int) -> Facts:
    """Return what is known of a version, without its report.

    Raises:
        VersionError: if there is no such version.
    """
    (facts,) = _all_version_facts(versions, [versions.get(number)])
    return facts


def _all_version_facts(versions: ModelVersions, rows: list[VersionRow]) -> list[Facts]:
    numbers = [row.number for row in rows]
    answers = versions.answers(numbers)
    open_ones = versions.open_decisions(VersionRow.number.in_(numbers))
    return [
        {
            **_version_facts(row, answers.get(row.number)),
            "undecided": row.number in open_ones.waiting,
            "superseded": row.number in open_ones.superseded,
        }
        for row in rows
    ]


def _version_facts(row: VersionRow, answer: VersionAnswerRow | None) -> Facts:
    return {
        "version": row.number,
        "name": version_name(row),
        "project": row.project,
        "parent": row.parent,
        "origin": row.origin,
        "created_at": _text(row.created_at),
        "data_fingerprint": row.data_fingerprint,
        "recipe": row.recipe,
        "scores": row.scores,
        "verdict": row.verdict,
        "reasons": row.reasons,
        "swept": row.is_swept,
        "answer": answer and {"answer": answer.answer, "by": answer.by, "at": _text(answer.at)},
    }


def move_list(learning: Learning, project: str, part: Part = _SHOWN_MOVES) -> Facts:
    """Return moves of a project's own pointer, newest first, and how many older ones there are.

    `SITE` is the project of the default.
    """
    moves = learning.stores.versions.history(project, part.most, part.before)
    older = moves[0].sequence - 1 if moves else 0  # they are counted from 1
    return {"moves": [_move_facts(move) for move in reversed(moves)], "more_moves": older}


def last_decision(learning: Learning, project: str, moves: list[Facts]) -> Facts | None:
    """Return what was decided last about what is live: the newest of these moves, or a keep."""
    with learning.stores.database.read() as session:
        answer = last_answer(session, project)
    newest = moves[0] if moves else None
    if answer is None or answer.answer != "kept":
        return newest
    kept = {"move": "keep", "version": answer.version, "by": answer.by, "at": _text(answer.at)}
    return kept if newest is None or kept["at"] >= newest["at"] else newest


def overview(learning: Learning, project: ProjectRow, jobs: Part, versions: Part) -> Facts:
    """Return everything the page of a project shows, of long lists a part, however long they are.

    Args:
        learning: the stores.
        project: which.
        jobs: those to show.
        versions: those to show.
    """
    facts, database = _project_facts(learning, project), learning.stores.database
    growth = sample_growth(database, project.key)
    facts["samples"]["growth"] = [(_text(moment), count) for moment, count in growth]
    return {
        **facts,
        "site": live_facts(learning, SITE),
        **annotations_to_look_at(learning, project),
        **job_list(learning, project.key, jobs),
        **asdict(next_job(learning, project.key)),
        **version_list(learning, project.key, versions),
        "undecided": _undecided(learning, project.key),
        **move_list(learning, project.key),
    }


def _move_facts(move: LiveMoveRow) -> Facts:
    return {
        "sequence": move.sequence,
        "move": move.move,
        "version": move.version,
        "pinned": move.pinned,
        "by": move.by,
        "reason": move.reason,
        "at": _text(move.at),
    }


def _undecided(learning: Learning, project: str) -> list[int]:
    waiting = learning.stores.versions.open_decisions(VersionRow.project == project).waiting
    return sorted(waiting, reverse=True)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
