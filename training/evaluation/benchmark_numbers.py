"""What a benchmark found, as plain numbers: for JSON, for the terminal, for the report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.evaluation.benchmark_runs import Protocol
from training.evaluation.bootstrap import DRAWS
from training.evaluation.noc import PUBLISHED_CLICKS, SIZE_CLASSES, ScoreCard
from training.evaluation.text_table import text_table
from training.provenance import Provenance

THRESHOLDS = (0.80, 0.85, 0.90, 0.95)
FAILURE_THRESHOLDS = (0.85, 0.90)  # what papers count clicks to, too
_SHOWN_CLICKS = (1, 3, 5)


@dataclass(frozen=True)
class Entry:
    """One contestant's results.

    Attributes:
        name: of the contestant.
        description: one line on what it is.
        deviation: how it departs from the published protocol; empty if it does not.
        cards: by data set.
        origins: from where and when, and how many scores of all data sets are from there.
    """

    name: str
    description: str
    deviation: str
    cards: Mapping[str, ScoreCard]
    origins: Mapping[str, int]


@dataclass(frozen=True)
class Benchmark:
    """All results, and how they came about.

    Attributes:
        entries: one for each contestant, in the order asked for.
        published_sizes: data set → number of objects that published numbers are measured on, or
            None where nobody has published any.
        protocol: how samples were clicked.
        every: only every so manieth sample was.
        provenance: of the report; the scores may be older, as each entry's origins say.
    """

    entries: tuple[Entry, ...]
    published_sizes: Mapping[str, int | None]
    protocol: Protocol
    every: int
    provenance: Provenance

    def conventions(self) -> list[str]:
        """Return what one needs to know to read the numbers."""
        return _conventions(self.protocol)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return {
            "format": "icmformer benchmark report 1",
            "provenance": asdict(self.provenance),
            "protocol": asdict(self.protocol),
            "every": self.every,
            "conventions": self.conventions(),
            "not comparable with published numbers because": self.deviations(),
            "results": [
                {
                    "name": entry.name,
                    "description": entry.description,
                    "scores from": dict(entry.origins),
                    "data sets": {name: summary(card) for name, card in entry.cards.items()},
                }
                for entry in self.entries
            ],
        }

    def text_table(self) -> str:
        """Return the main numbers as a table for a terminal."""
        shown = [f"IoU@{k}" for k in _SHOWN_CLICKS if k <= self.protocol.max_clicks]
        header = ["", "data set", "n", *metric_names(self.protocol), *shown, "s/click"]
        rows = [
            [entry.name, dataset, str(len(card.samples)), *_metric_texts(card)]
            for entry in self.entries
            for dataset, card in entry.cards.items()
        ]
        notes = [f"kept from before: {text}\n" for text in self.kept()]
        notes += [f"not comparable with published numbers: {why}\n" for why in self.deviations()]
        return text_table([header, *rows], names=2) + "".join(notes)

    def kept(self) -> list[str]:
        """Return which scores were found in the output folder, made by other code or elsewhere."""
        here = self.provenance.place()
        return [
            f"{count} scores of {entry.name}: {origin}"
            for entry in self.entries
            for origin, count in entry.origins.items()
            if not origin.startswith(here)
        ]

    def deviations(self) -> list[str]:
        """Return why the numbers may not stand beside published ones; nothing if they may."""
        protocol = self.protocol
        reasons = [f"{name}: {text}" for name, text in self._incomplete().items()]
        reasons += [f"{one.name}: {one.deviation}" for one in self.entries if one.deviation]
        if protocol.annotator != "centre":
            reasons.append("the simulated annotator misses the centre of the errors on purpose")
        if protocol.start_from_mask:
            reasons.append("clicking starts from a damaged mask of the object, not from nothing")
        if protocol.max_clicks != PUBLISHED_CLICKS:
            given = protocol.max_clicks
            reasons.append(f"objects are given up after {given} clicks, not {PUBLISHED_CLICKS}")
        return reasons

    def _incomplete(self) -> dict[str, str]:
        """Return the data sets of which not all published objects were clicked."""
        return {
            name: f"{len(card.samples)} of {self.published_sizes[name]} objects"
            for name, card in self.entries[0].cards.items()
            if self.published_sizes[name] not in (None, len(card.samples))
        }


def summary(card: ScoreCard) -> dict[str, Any]:
    """Return a card's numbers as plain data, with a breakdown by object size."""
    return {
        **_summary(card),
        "by object size": {size: _summary(part) for size, part in card.by_object_size().items()},
    }


def known(card_or_protocol: ScoreCard | Protocol, thresholds: tuple[float, ...]) -> list[float]:
    """Return the thresholds up to which samples were clicked; nothing is known of higher ones.

    Where there are higher ones, the IoU at which samples ended is the last: it was asked for.
    """
    target = card_or_protocol.target_iou
    below = [t for t in thresholds if t <= target]
    return below if target in below or target > thresholds[-1] else [*below, target]


def percent(threshold: float) -> str:
    """Return an IoU as it stands in the name of a number: 85, 87.5."""
    return f"{100 * threshold:g}"


def metric_names(protocol: Protocol) -> list[str]:
    """Return the names of the numbers of clicks and of failures that are known, as columns."""
    return [
        *(f"NoC{percent(t)}" for t in known(protocol, THRESHOLDS)),
        *(f"≥{protocol.max_clicks}@{percent(t)}" for t in known(protocol, FAILURE_THRESHOLDS)),
    ]


def _summary(card: ScoreCard) -> dict[str, Any]:
    return {
        "objects": len(card.samples),
        "NoC": {_key(t): asdict(card.noc_interval(t)) for t in known(card, THRESHOLDS)},
        "NoF": {_key(t): card.failures(t) for t in known(card, FAILURE_THRESHOLDS)},
        "never reached": {_key(t): card.never_reached(t) for t in known(card, FAILURE_THRESHOLDS)},
        "mean IoU after each click": [round(float(value), 6) for value in card.mean_ious()],
        "seconds per click": card.seconds_per_click(),
    }


def _key(threshold: float) -> str:
    # 0.90 and 0.875: two digits, or as many as it has.
    return max(f"{threshold:.2f}", f"{threshold:g}", key=len)


def _metric_texts(card: ScoreCard) -> list[str]:
    mean_ious = card.mean_ious()
    return [
        *(f"{card.noc(t):.2f}" for t in known(card, THRESHOLDS)),
        *(str(card.failures(t)) for t in known(card, FAILURE_THRESHOLDS)),
        *(f"{mean_ious[k - 1]:.3f}" for k in _SHOWN_CLICKS if k <= card.max_clicks),
        f"{card.seconds_per_click():.3f}",
    ]


def _conventions(protocol: Protocol) -> list[str]:
    most = protocol.max_clicks
    sizes = ", ".join(f"{name} from {100 * low:g} %" for name, (low, _) in SIZE_CLASSES.items())
    return [
        f"NoC@t is the number of clicks until the IoU first reaches t, and {most} if it never does"
        f" within {most} clicks; the mean over all objects.",
        f"NoF (≥{most}@t) counts the objects whose NoC equals {most}. As in the literature, that"
        f" includes objects that reach t with exactly the last click; “never” counts without them.",
        "A pixel belongs to the mask where the probability exceeds 0.49. Pixels marked as unknown"
        " (grey 128 in GrabCut) count neither for nor against.",
        "The first click is the pixel deepest inside the object, every next one the pixel deepest"
        " inside the larger of missing and superfluous area (exact distance, first in row order).",
        "Unless it is said otherwise of one, networks see a zoomed crop of a fixed size, whatever"
        " the aspect ratio (expansion 1.4, at least 200 pixels), averaged with its mirror image"
        " before the sigmoid. The size is that of the last stage of their training; but 448 for the"
        " paper's Swins of 384 and 224, whose size of evaluation is not recorded, and 672 on DAVIS"
        " for all of these and for networks of 448, as in the authors' script.",
        f"An object is clicked until IoU {protocol.target_iou:g}. The published protocol stops at"
        " 0.90; going on changes no NoC up to 90. In curves the last IoU is carried forward.",
        "Seconds per click: network, simulated annotator and IoU together, without reading files,"
        " over all clicks of all objects; on the hardware named above, which is shared where"
        " --processes is above 1.",
        f"Intervals: 95 % bootstrap over images, {DRAWS} draws, expanded percentiles; of two to"
        " five images Student's t, of one the whole range.",
        f"Object sizes are shares of the image's area: {sizes}.",
        "17 of GrabCut's 50 images are in Berkeley too; the two scores are not independent.",
    ]
