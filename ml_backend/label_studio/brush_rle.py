"""Brush masks as Label Studio stores them: the "rle-pack" bit stream.

Format (https://github.com/thi-ng/umbrella/blob/develop/packages/rle-pack): bits are written most
significant first and padded with zeros to whole bytes.

| bits          | meaning                                                                  |
|---------------|--------------------------------------------------------------------------|
| 32            | number of words; for a brush mask height·width·4, the mask as RGBA       |
| 5             | word size − 1; Label Studio writes 8-bit words                           |
| 4 × 4         | four widths − 1 a run's length may be written in; 3, 4, 8 and 16         |
| then each run | 1 bit: repeated word or literal words · 2 bits: which of the four widths |
|               | that many bits: length − 1 · the word, or *length* words                 |

The start of a run is known only once all runs before it are read, so a plain decoder visits run
after run. Here the bits are cut into blocks; a first pass computes, for every bit of all blocks at
once, where a run starting there would leave its block; a second pass then knows where every block
is entered and follows the runs of all blocks at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_backend.errors import BrushRLEError

HEADER_BITS = 53
WORD_BITS = 8
RUN_WIDTHS = (3, 4, 8, 16)
LONGEST_RUN = 1 << 16
# Flag, choice of width and the widest length: what decides how long a run is in the stream.
_HEAD_BITS = 3 + 16
# Bits looked at together: bounds the working memory (about 40 MB) whatever the stream's size.
_CHUNK_BITS = 1 << 23

Positions = NDArray[np.int64]


def encode(mask: NDArray[Any]) -> list[int]:
    """Write a mask as Label Studio does: 255 on the object and 0 elsewhere, in all four channels.

    Args:
        mask: (H, W) bool, of at least one pixel.

    Returns:
        The bytes of the stream, 0–255, as the JSON list that `value.rle` holds.

    Raises:
        BrushRLEError: if the mask is something else, such as probabilities.
    """
    if mask.dtype != bool or mask.ndim != 2 or not mask.size:
        raise BrushRLEError(
            "a brush mask is written from bool of the shape (height, width), not from "
            f"{mask.dtype} of the shape {mask.shape}"
        )
    flat = mask.ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    lengths = np.diff(starts, append=flat.size) * 4
    pieces = -(-lengths // LONGEST_RUN)
    run_of_piece = np.repeat(np.arange(len(starts)), pieces)
    length_of_piece = np.full(len(run_of_piece), LONGEST_RUN)
    length_of_piece[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * LONGEST_RUN
    # A piece of a longer run keeps the run's widest field, as Label Studio's own encoder does.
    widest = np.where(lengths > LONGEST_RUN, LONGEST_RUN, lengths)[run_of_piece]
    codes, widths = _run_codes(length_of_piece, widest, flat[starts][run_of_piece])
    return _pack(
        np.r_[np.uint64(flat.size * 4), _header_tail(), codes],
        np.r_[32, HEADER_BITS - 32, widths],
    ).tolist()


def decode(rle: Sequence[int] | NDArray[Any], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a brush mask; any word size, run widths and mixture of runs the format allows.

    Args:
        rle: the bytes of the stream, 0–255.
        size_hw: height and width of the image the mask was painted on.

    Returns:
        (H, W) bool: where alpha is above 127. The editor writes anti-aliased rims of 0–255.

    Raises:
        BrushRLEError: if the list is not bytes, is cut short, or is not a mask of that size.
    """
    height, width = size_hw
    stream = _Stream(_as_bytes(rle))
    if stream.words != height * width * 4:
        raise BrushRLEError(
            f"the brush mask holds {stream.words} values, but an image of {width}x{height} pixels "
            f"needs {height * width * 4} (width x height x 4)"
        )
    return _alpha(stream).reshape(height, width)


def _header_tail() -> np.uint64:
    """Return word size and run widths as the 21 bits that follow the number of words."""
    tail = WORD_BITS - 1
    for width in RUN_WIDTHS:
        tail = tail << 4 | (width - 1)
    return np.uint64(tail)


def _run_codes(
    lengths: Positions, widest: Positions, values: NDArray[np.bool_]
) -> tuple[NDArray[np.uint64], Positions]:
    """Return each run's bits, right-aligned, and how many bits they are."""
    choice = np.searchsorted([1 << width for width in RUN_WIDTHS], widest)
    width = np.asarray(RUN_WIDTHS)[choice]
    head = (0b100 | choice) << width | (lengths - 1)
    codes = head << WORD_BITS | np.where(values, 255, 0)
    return codes.astype(np.uint64), 3 + width + WORD_BITS


def _pack(codes: NDArray[np.uint64], widths: Positions) -> NDArray[np.uint8]:
    """Concatenate bit fields of at most 32 bits, most significant first, into bytes."""
    ends = np.cumsum(widths)
    word, bit = np.divmod(ends - widths, 32)
    # Each field lies in a pair of neighbouring 32-bit words; fields of one word are or-ed together.
    placed = codes << (64 - bit - widths).astype(np.uint64)
    first = np.flatnonzero(np.r_[True, word[1:] != word[:-1]])
    words = np.zeros(word[-1] + 2, dtype=np.uint64)
    words[word[first]] = np.bitwise_or.reduceat(placed >> np.uint64(32), first)
    words[word[first] + 1] |= np.bitwise_or.reduceat(placed & np.uint64(0xFFFFFFFF), first)
    return words.astype(">u4").view(np.uint8)[: (ends[-1] + 7) // 8]


def _as_bytes(rle: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
    try:
        values = np.asarray(rle)
    except (ValueError, OverflowError) as error:
        raise BrushRLEError("the brush mask is not a flat list of whole numbers") from error
    if values.ndim == 1 and values.size * 8 < HEADER_BITS:
        raise BrushRLEError(f"the brush mask ends inside its header: it is {values.size} bytes")
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise BrushRLEError("the brush mask is not a flat list of whole numbers")
    if values.min() < 0 or values.max() > 255:
        raise BrushRLEError("the brush mask holds numbers outside 0 to 255, so they are not bytes")
    return values.astype(np.uint8)


@dataclass(frozen=True)
class _Runs:
    """All runs of a stream: where their first word is stored, and which words they stand for."""

    positions: Positions
    lengths: Positions
    literal: NDArray[np.bool_]


class _Stream:
    """The bits of one stream, read at many positions at a time.

    Attributes:
        words: how many words the header announces.
        word_bits: size of a word.
    """

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._bits = data.size * 8
        padded = np.zeros(data.size + _CHUNK_BITS // 8, dtype=np.uint8)
        padded[: data.size] = data
        # Entry i holds the 64 bits from byte i on, so any field of 32 bits is one shift away.
        self._windows: NDArray[np.uint64] = np.ndarray(
            (padded.size - 8,), dtype=">u8", buffer=padded, strides=(1,)
        )
        header = int(self._windows[0])
        self.words = header >> 32
        self.word_bits = (header >> 27 & 31) + 1
        self._widths = np.array([(header >> shift & 15) + 1 for shift in (23, 19, 15, 11)])
        self._run_bits = _run_bits_table(self.word_bits, *self._widths.tolist())

    def read(self, positions: Positions, widths: Positions | int) -> Positions:
        """Return the fields of 1–32 bits at these bit positions."""
        windows = self._windows[positions >> 3] << (positions & 7).astype(np.uint64)
        return (windows >> np.uint64(64) - np.asarray(widths, dtype=np.uint64)).astype(np.int64)

    def runs(self) -> _Runs:
        """Find all runs.

        Raises:
            BrushRLEError: if the stream ends before all words are there, or goes on within a run.
        """
        found = self._runs_at(self._starts())
        words = np.cumsum(found.lengths)
        last = int(np.searchsorted(words, self.words))
        if last == words.size or self._end_of_run(found, last) > self._bits:
            raise BrushRLEError(
                f"the brush mask is cut short: its {self._bits // 8} bytes hold fewer than the "
                f"{self.words} values it announces"
            )
        if words[last] != self.words:
            raise BrushRLEError(
                f"the brush mask is damaged: its runs hold more than the {self.words} values it "
                "announces"
            )
        kept = slice(last + 1)
        return _Runs(found.positions[kept], found.lengths[kept], found.literal[kept])

    def _runs_at(self, starts: Positions) -> _Runs:
        head = self.read(starts, 3)
        widths = self._widths[head & 3]
        return _Runs(starts + 3 + widths, self.read(starts + 3, widths) + 1, head < 4)

    def _end_of_run(self, runs: _Runs, index: int) -> int:
        words = int(runs.lengths[index]) if runs.literal[index] else 1
        return int(runs.positions[index]) + words * self.word_bits

    def _starts(self) -> Positions:
        """Return the bit position of every run, in order, up to the announced number of words."""
        position, words = HEADER_BITS, 0
        found: list[Positions] = [np.zeros(0, dtype=np.int64)]
        while position < self._bits and words < self.words:
            starts, position = self._starts_in_chunk(position)
            words += int(self._runs_at(starts).lengths.sum())
            found.append(starts)
        return np.concatenate(found)

    def _starts_in_chunk(self, position: int) -> tuple[Positions, int]:
        """Return the runs from `position` to the end of its chunk, and where the next run is."""
        base = position & ~7
        chunk = min(_CHUNK_BITS // 2, self._bits - base)
        block = int(np.clip(np.sqrt(chunk) / 4, 64, 1024)) & ~7
        exits = self._block_exits(base, block, -(-chunk // block))
        entries, position = [], position - base
        while position < exits.size:
            entries.append(position)
            position = int(exits[position % block, position // block])
        return base + self._follow(base, np.array(entries), block, exits.size), base + position

    def _block_exits(self, base: int, block: int, blocks: int) -> NDArray[np.int32]:
        """Say for every bit where a run starting there leads to, once out of its block.

        Args:
            base: bit position of the first block, a multiple of 8.
            block: bits per block, a multiple of 8.
            blocks: how many.

        Returns:
            (block, blocks): counted from `base`, the first run at or after the end of the block.
        """
        exits = np.empty((block, blocks), dtype=np.int32)
        flat = exits.reshape(-1)
        begin = np.arange(blocks, dtype=np.int32) * block
        windows = self._windows[base >> 3 :][: blocks * block >> 3] >> np.uint64(32)
        windows = windows.astype(np.uint32).reshape(blocks, block >> 3).T.copy()
        for offset in reversed(range(block)):
            window = windows[offset >> 3] << np.uint32(offset & 7)
            after = self._run_bits.take(window >> np.uint32(32 - _HEAD_BITS)) + np.int32(offset)
            np.add(begin, after, out=exits[offset])
            inside = np.flatnonzero(after < block)
            exits[offset, inside] = flat.take(after[inside] * np.intp(blocks) + inside)
        return exits

    def _follow(self, base: int, entries: Positions, block: int, size: int) -> Positions:
        """Visit the runs of all blocks at once, each from the position where it is entered."""
        visited = np.zeros(size, dtype=bool)
        positions, ends = entries, (entries // block + 1) * block
        while positions.size:
            visited[positions] = True
            positions = positions + self._run_bits[self.read(base + positions, _HEAD_BITS)]
            inside = positions < ends
            positions, ends = positions[inside], ends[inside]
        return np.flatnonzero(visited)


@lru_cache(maxsize=4)
def _run_bits_table(word_bits: int, *widths: int) -> NDArray[np.int32]:
    """Return how many bits a run takes, for every value of the first 19 bits it can begin with."""
    heads = np.arange(1 << _HEAD_BITS)
    width = np.array(widths)[heads >> _HEAD_BITS - 3 & 3]
    length = (heads & (1 << _HEAD_BITS - 3) - 1) >> (_HEAD_BITS - 3 - width)
    words = np.where(heads >> _HEAD_BITS - 1, 1, length + 1)
    return (3 + width + words * word_bits).astype(np.int32)


def _alpha(stream: _Stream) -> NDArray[np.bool_]:
    """Return, pixel by pixel, whether the last of its four words is above 127."""
    runs = stream.runs()
    ends = np.cumsum(runs.lengths)
    first_pixel = (ends - runs.lengths) // 4
    pixels = ends // 4 - first_pixel
    alpha = np.repeat(stream.read(runs.positions, stream.word_bits) > 127, pixels)
    literal = np.flatnonzero(runs.literal & (pixels > 0))
    if literal.size:
        pixels, first_pixel = pixels[literal], first_pixel[literal]
        pixel = np.repeat(first_pixel - (np.cumsum(pixels) - pixels), pixels)
        pixel += np.arange(pixel.size)
        words_before = (ends - runs.lengths)[literal]
        origin = runs.positions[literal] - words_before * stream.word_bits
        positions = np.repeat(origin, pixels) + (4 * pixel + 3) * stream.word_bits
        alpha[pixel] = stream.read(positions, stream.word_bits) > 127
    return alpha
