"""Objects that several annotators outlined: which masks are of the same one."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from training.errors import StoredFileError
from training.store.object_mask import ObjectMask
from training.store.sample_files import SampleFiles
from training.store.sample_rows import SampleRow

_SAME_OBJECT_IOU = 0.5  # of objects that do not overlap, at most one has more with a mask


def outlined_again(
    rows: Sequence[SampleRow], files: SampleFiles, tell: Callable[[int, int], None]
) -> set[int]:
    """Return the ids of samples whose object another annotation has outlined later.

    Only masks of images that several annotations are about are read. Those that cannot be are
    taken for objects of their own.

    Args:
        rows: the samples, the oldest first.
        files: where their masks are.
        tell: called before each mask with how many were read, and of how many.
    """
    alike: dict[tuple[str, str], list[SampleRow]] = defaultdict(list)
    for row in rows:
        alike[row.image, row.label].append(row)
    several = [group for group in alike.values() if len({row.annotation for row in group}) > 1]
    total, done, again = sum(map(len, several)), 0, set[int]()
    for group in several:
        newer: list[tuple[int, ObjectMask]] = []
        for row in reversed(group):
            tell(done, total)
            done += 1
            try:
                mask = ObjectMask.of(files.read_mask(row.mask))
            except StoredFileError:
                continue
            if any(other != row.annotation and _is_same(mask, one) for other, one in newer):
                again.add(row.id)
            else:
                newer.append((row.annotation, mask))
    return again


def _is_same(mask: ObjectMask, other: ObjectMask) -> bool:
    shared = mask.overlap(other)
    return shared > _SAME_OBJECT_IOU * (mask.area + other.area - shared)
