"""Samples whose stored files are damaged or lost: set aside, and taken back."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from training.errors import StoredFileError
from training.moments import now
from training.store.installation import require_own_files
from training.store.sample_files import SampleFiles
from training.store.sample_rows import AnnotationRow, SampleRow
from training.store.stores import Stores


def set_aside_damaged(
    stores: Stores,
    project: str,
    images: Collection[str],
    tell: Callable[[int, int], None],
) -> int:
    """Read files that samples point at; set aside what is damaged or missing.

    An annotation with such a file becomes unreadable, with a note that says why, and its
    samples are not used. That ends when its files can be read again, or when
    `SampleStore.replace` takes the same state of it, as a reconcile does, and stores them anew.

    Args:
        stores: where they are.
        project: whose samples.
        images: content hashes; these are read with their masks, and what is set aside already.
        tell: called before each file with how many were read, and of how many.

    Returns:
        How many annotations were set aside.

    Raises:
        FileStoreError: if the stored files cannot be reached, or are not this installation's.
    """
    wanted, files = set(images), SampleFiles(stores.files)
    with stores.database.read() as session:
        rows = session.execute(
            select(
                SampleRow.annotation,
                SampleRow.image,
                SampleRow.mask,
                AnnotationRow.status,
                AnnotationRow.stored_at,
            )
            .join_from(SampleRow, AnnotationRow)
            .where(SampleRow.project == project)
        ).all()
    samples = [row for row in rows if row.image in wanted or row.status == "unreadable"]
    reads = dict.fromkeys((sample.image for sample in samples), files.read_image)
    reads |= dict.fromkeys((sample.mask for sample in samples), files.read_mask)
    problems = _damage(reads, tell)
    if problems:
        require_own_files(stores.database, stores.files)
    damaged = {
        sample.annotation: problems.get(sample.image) or problems[sample.mask]
        for sample in samples
        if sample.image in problems or sample.mask in problems
    }
    aside = {sample.annotation for sample in samples if sample.status == "unreadable"}
    changed = {number: damaged.get(number, "") for number in aside ^ damaged.keys()}
    states = {sample.annotation: (sample.status, sample.stored_at) for sample in samples}
    if not changed:
        return 0
    with stores.database.write() as session:
        return sum(
            _set_aside(session, project, annotation, problem, states[annotation])
            for annotation, problem in changed.items()
        )


def _damage(
    reads: Mapping[str, Callable[[str], object]], tell: Callable[[int, int], None]
) -> dict[str, str]:
    """Return what is wrong with those files that cannot be read, by content hash."""
    problems = {}
    for done, (content_hash, read) in enumerate(reads.items()):
        tell(done, len(reads))
        try:
            read(content_hash)
        except StoredFileError as error:
            problems[content_hash] = f"{error}; the next reconcile stores it again"
    return problems


def _set_aside(
    session: Session, project: str, annotation: int, problem: str, state: tuple[str, datetime]
) -> bool:
    """Set an annotation aside, or take it back where there is no problem; return the former."""
    row = session.get(AnnotationRow, (project, annotation))
    if row is None or (row.status, row.stored_at) != state:
        return False  # withdrawn or stored again while the files were read
    if problem:
        row.status, row.notes = "unreadable", [problem, *row.notes]
    else:  # the first note of what is unreadable says why it is
        row.status, row.notes = "accepted", row.notes[1:]
    row.stored_at = now()
    return bool(problem)
