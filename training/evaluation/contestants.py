"""What a benchmark compares: checkpoints, and a classical method under them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from icmformer import ICMFormer, ModelConfig, load_checkpoint
from icmformer.checkpoint import read_description, require_unaltered
from icmformer.model import network_without_weights
from icmformer.predictor import Predictor
from icmformer.variants import VARIANTS
from training.errors import BenchmarkError
from training.evaluation.classical import VALUES, GrabCutBaseline
from training.evaluation.click_by_click import ClickSegmenter
from training.weights_file import (
    is_of_the_authors,
    is_specialised,
    read_config,
    trained_size,
    weights_sha256,
)

# Networks of the paper read 448 pixels, whatever they were trained at, and DAVIS's larger images at
# 672: so the released script has it, which records no other size for the Swins of 384 and 224.
_PAPER_NETWORKS = ("vit_base", "vit_large", "vit_huge", "swin_base", "swin_small")
_PAPER_SIZE = (448, 448)
_PAPER_SIZE_ON_DAVIS = (672, 672)
_NAMES_IN_A_RUN = ("latest", "best")


class Contestant(Protocol):
    """Something that answers clicks; small enough to be sent to another process."""

    @property
    def name(self) -> str:
        """A short name for tables."""

    def describe(self) -> str:
        """Return one line on what it is."""

    def deviation(self) -> str:
        """Return how it departs from the published protocol; empty if it does not."""

    def settings(self, dataset: str) -> dict[str, str]:
        """Return all that its results on the data set depend on, to recognise them again.

        Raises:
            BenchmarkError: if it cannot answer there.
            CheckpointError: if its weights are missing or damaged.
        """

    def segmenter(self, dataset: str) -> ClickSegmenter:
        """Make it ready to answer clicks on the data set."""


@dataclass(frozen=True)
class Checkpoint:
    """A network, evaluated by the published protocol.

    Attributes:
        name: for tables.
        path: of the weights, ours (.safetensors) or the authors' (.pth).
        device: on which to compute.
        input_size: height and width of the network's input. None is the size of the last stage
            of its training; but 448 for the paper's Swins, unless they were trained at another
            size than the paper's 384 and 224, as the authors' script has it, and 672 on DAVIS for
            these and for all networks of 448.
    """

    name: str
    path: Path
    device: str = "cpu"
    input_size: tuple[int, int] | None = None

    def describe(self) -> str:
        """Return backbone, number of parameters, and what size it is measured at.

        Raises:
            CheckpointError: if the file cannot be read.
        """
        weights = network_without_weights(self._config).parameters()
        parameters = f"{sum(weight.numel() for weight in weights) / 1e6:.1f} M parameters"
        if is_specialised(self.path):
            parameters = (
                f"twice {parameters} (a fine-tuned network, and the one it came from, which answers"
                " on unfamiliar images)"
            )
        (height, width), on_davis = self._size("any"), self._size("DAVIS")
        described = (
            f"{self.path.name}: {self._config.backbone}, {parameters},"
            f" reads {height} x {width} pixels"
        )
        if on_davis != (height, width):
            described += f", of DAVIS {on_davis[0]} x {on_davis[1]}"
        return described

    def deviation(self) -> str:
        """Return which size was asked for, if one was."""
        if self.input_size is None:
            return ""
        height, width = self.input_size
        return f"it reads {height} x {width} pixels on every data set, as --input-size says"

    def settings(self, dataset: str) -> dict[str, str]:
        """Return the hash of the weights and the input size, once both are known to work."""
        height, width = size = self._size(dataset)
        config = self._config
        if config.backbone == "vit" and not all(map(config.windows_along, size)):
            raise BenchmarkError(
                f"{self.path} cannot read {dataset} at {height} x {width} pixels: choose an"
                f" --input-size of multiples of {config.patch_size * config.window_size}, such as"
                f" {config.input_size[0]}"
            )
        return {"weights": self._sha256, "input size": str(size)}

    def segmenter(self, dataset: str) -> ClickSegmenter:
        """Load the network and follow the published protocol: fixed size, flip, fp32.

        Raises:
            BenchmarkError: if the file has changed since it was first read.
        """
        return Predictor.for_benchmark(self._network(), self._size(dataset))

    def _network(self) -> ICMFormer:
        sha256 = self._sha256
        network = load_checkpoint(self.path, self.device)
        # Not before: the file might be replaced in between.
        if weights_sha256(self.path) != sha256:
            raise BenchmarkError(
                f"{self.path} has changed since the benchmark began, perhaps because its training"
                " goes on: benchmark a copy"
            )
        return network

    def _size(self, dataset: str) -> tuple[int, int]:
        if self.input_size:
            return self.input_size
        trained = self._trained_size
        size = trained or self._config.input_size
        if size == _PAPER_SIZE or _is_of_the_paper(self._config, trained):
            return _PAPER_SIZE_ON_DAVIS if dataset == "DAVIS" else _PAPER_SIZE
        return size

    @cached_property
    def _config(self) -> ModelConfig:
        # Of the authors' files it takes reading all weights.
        return read_config(self.path)

    @cached_property
    def _sha256(self) -> str:
        # Remembered, and sent along to other processes: all results are to be of these weights.
        sha256 = weights_sha256(self.path)
        if not is_of_the_authors(self.path):
            require_unaltered(self.path, sha256, read_description(self.path))
        return sha256

    @cached_property
    def _trained_size(self) -> tuple[int, int] | None:
        """Return the size of the last stage, None if none is recorded."""
        last = trained_size(self.path)
        return None if last is None else (last, last)


@dataclass(frozen=True)
class Served(Checkpoint):
    """A network as people get it: with repeated zoom-in and tidy masks, at its own size."""

    def describe(self) -> str:
        """Return backbone, size and number of parameters."""
        return f"{super().describe()}, as served"

    def deviation(self) -> str:
        """Return what serving does otherwise."""
        return "it looks closer, tidies its masks and sees no mirror image"

    def settings(self, dataset: str) -> dict[str, str]:
        """Return the hash of the weights and the input size."""
        return {**super().settings(dataset), "zoom": "as served"}

    def segmenter(self, dataset: str) -> ClickSegmenter:
        """Load the network and serve it."""
        return Predictor(self._network())

    def _size(self, dataset: str) -> tuple[int, int]:
        return self._config.input_size


class ClassicalMethod:
    """OpenCV's GrabCut, seeded by the same clicks."""

    name: ClassVar[str] = "GrabCut (classical)"

    def describe(self) -> str:
        """Return its source and values."""
        return f"OpenCV's GrabCut (Rother et al. 2004), seeded by the clicks: {VALUES}"

    def deviation(self) -> str:
        """Return nothing: the method has no input size and sees the whole image."""
        return ""

    def settings(self, dataset: str) -> dict[str, str]:
        """Return its values."""
        return {"method": f"GrabCut, {VALUES}"}

    def segmenter(self, dataset: str) -> ClickSegmenter:
        """Return the method, which needs no preparation."""
        return GrabCutBaseline()


def named_checkpoints(
    paths: list[Path], device: str, input_size: tuple[int, int] | None
) -> list[Checkpoint]:
    """Name checkpoints after their files, with as many folders as tell those of one name apart.

    What a training calls `latest` or `best` is named after its run folder, too. Files that differ
    in the suffix alone keep it; a file that is given twice is one checkpoint.
    """
    files = {path.absolute(): path for path in paths}
    return [
        Checkpoint(name, path, device, input_size)
        for name, path in zip(_labels(list(files)), files.values(), strict=True)
    ]


def _is_of_the_paper(config: ModelConfig, trained: tuple[int, int] | None) -> bool:
    """Return whether a network is one of the paper's, or of its ablations.

    Args:
        config: of the network. Its input size does not count: it is nominal, and a guess for some
            of the authors' files.
        trained: size of the last stage of a training of ours, which must be the paper's.
    """

    def shape(config: ModelConfig) -> tuple[object, ...]:
        return config.backbone, config.embed_dim, config.depths

    alike = [VARIANTS[name] for name in _PAPER_NETWORKS if shape(VARIANTS[name]) == shape(config)]
    return any(trained in (None, paper.input_size) for paper in alike)


def _labels(files: Sequence[Path]) -> list[str]:
    """Return the shortest names that tell files apart, given their absolute paths."""
    bare = [file.with_suffix("") for file in files]
    count = Counter(bare)
    ends = [_end(path, list(count), 2 if path.name in _NAMES_IN_A_RUN else 1) for path in bare]
    return [
        f"{end}{file.suffix}" if count[path] > 1 else end
        for end, file, path in zip(ends, files, bare, strict=True)
    ]


def _end(path: Path, paths: Sequence[Path], parts: int) -> str:
    """Return so many last parts of a path, or as many as tell it apart from the others."""
    ends = [each.parts[-parts:] for each in paths]
    if parts < len(path.parts) and ends.count(path.parts[-parts:]) > 1:
        return _end(path, paths, parts + 1)
    return Path(*path.parts[-parts:]).as_posix()
