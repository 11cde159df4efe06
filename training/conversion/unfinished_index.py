"""The index of a layered folder while it is made, so that what was interrupted is gone on with."""

import json
from pathlib import Path
from typing import Any

from training.atomic_files import write_atomically
from training.datasets.layered_folder import INDEX, layers_file


class UnfinishedIndex:
    """Gathers lines of the index in a file of its own, one as soon as its image is written.

    Args:
        folder: of the layered folder, which exists.
        origin: what the lines were made from; those of another origin are forgotten.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._path = folder / "index.unfinished"
        self._entries = {entry["name"]: entry for entry in self._kept(origin)}
        # Anew, since a process that was killed may have left half a line.
        write_atomically(self._path, _lines(origin, *self._entries.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def add(self, entry: dict[str, Any]) -> None:
        """Keep the line of an image whose layers are written."""
        self._entries[entry["name"]] = entry
        with self._path.open("ab") as file:
            file.write(_lines(entry))

    def finish(self) -> int:
        """Let the index appear, its images in the order of their names; return their number."""
        entries = [entry for _, entry in sorted(self._entries.items())]
        write_atomically(self._folder / INDEX, _lines(*entries))
        self._path.unlink()
        return len(entries)

    def _kept(self, origin: str) -> list[dict[str, Any]]:
        try:
            found, *lines = self._path.read_bytes().splitlines(keepends=True)
        except (OSError, ValueError):
            return []
        if found != _lines(origin):
            return []
        entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [one for one in entries if layers_file(self._folder, one["name"]).is_file()]


def _lines(*contents: object) -> bytes:
    return "".join(f"{json.dumps(content)}\n" for content in contents).encode()
