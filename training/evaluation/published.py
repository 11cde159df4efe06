"""Numbers that others have published, to stand beside ours.

Nothing here was measured by this project. Every row names its source, most often the iCMFormer
paper (Li, Vosselman, Yang, ICCV workshops 2023, arXiv 2307.02280), where its own rows say "Ours".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

Scores = dict[str, float]

PAPER_TABLE_1 = "iCMFormer paper, table 1"
MFP = "MFP paper (CVPR 2024, arXiv 2404.18448)"
CLICKSEG = "README of ClickSEG (FocalClick)"
SEGNEXT = "README of SegNext (CVPR 2024)"
SIMPLECLICK = "SimpleClick paper (arXiv 2210.11006), as quoted by MFP"
AGGREGATOR = "leaderboard sites, not the original paper"

PASCAL = "PASCAL"
SBD = "SBD"
COCO_LVIS = "COCO+LVIS"
ABLATIONS = "SBD, ablations"

TABLE_1_DATASETS = ("GrabCut", "Berkeley", "SBD", "DAVIS")


@dataclass(frozen=True)
class PublishedRow:
    """What a paper or README reports about one model.

    Attributes:
        method: its name.
        backbone: as the source spells it.
        trained_on: data the model was trained with.
        source: where the numbers stand.
        scores: data set → metric ("NoC85", "NoC90", "NoC95", "NoF85", "NoF90") → value.
    """

    method: str
    backbone: str
    trained_on: str
    source: str
    scores: dict[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedCost:
    """A row of table 3: the size in pixels, and the paper's own counting and hardware (A40)."""

    method: str
    size: int
    parameters_millions: float
    giga_flops: float
    milliseconds_per_click: int


def _table_1(
    method: str, backbone: str, trained_on: str, numbers: str, source: str = PAPER_TABLE_1
) -> PublishedRow:
    """Read NoC85 and NoC90 of the four data sets, "-" where the source has none."""
    columns = [(name, metric) for name in TABLE_1_DATASETS for metric in ("NoC85", "NoC90")]
    scores: dict[str, Scores] = {}
    for (dataset, metric), number in zip(columns, numbers.split(), strict=True):
        if number != "-":
            scores.setdefault(dataset, {})[metric] = float(number)
    return PublishedRow(method, backbone, trained_on, source, scores)


def _failures(
    method: str,
    backbone: str,
    trained_on: str,
    source: str,
    numbers: dict[str, tuple[int | None, int | None]],
) -> PublishedRow:
    """Read the number of objects that miss 85 % and 90 % IoU within 20 clicks."""
    scores = {
        dataset: {
            metric: float(number)
            for metric, number in zip(("NoF85", "NoF90"), pair, strict=True)
            if number is not None
        }
        for dataset, pair in numbers.items()
    }
    return PublishedRow(method, backbone, trained_on, source, scores)


# Columns: GrabCut, Berkeley, SBD, DAVIS; NoC85 and NoC90 of each.
TABLE_1 = (
    _table_1("DIOS", "FCN", PASCAL, "- 6.04 - 8.65 - - - 12.58"),
    _table_1("RIS-Net", "FCN", PASCAL, "- 5.00 - - 6.03 - - -"),
    _table_1("FCA-Net", "ResNet-101", PASCAL, "- 2.08 - 3.92 - - - 7.57"),
    _table_1("LD", "VGG-19", SBD, "3.20 4.79 - - 7.41 10.78 5.05 9.57"),
    _table_1("BRS", "DenseNet", SBD, "2.60 3.60 - 5.08 6.59 9.78 5.58 8.24"),
    _table_1("f-BRS", "ResNet-101", SBD, "2.30 2.72 - 4.57 4.81 7.73 5.04 7.41"),
    _table_1("CDNet", "ResNet-50", SBD, "2.22 2.64 - 3.69 4.37 7.87 5.17 6.66"),
    _table_1("RITM", "HRNet-18", SBD, "1.76 2.04 - 3.22 3.39 5.43 4.94 6.71"),
    _table_1("FocalClick", "HRNet-18s-S2", SBD, "1.86 2.06 - 3.14 4.30 6.52 4.92 6.48"),
    _table_1("FocalClick", "SegF-B0-S2", SBD, "1.66 1.90 - 3.14 4.34 6.51 5.02 7.06"),
    _table_1("FocusCut", "ResNet-101", SBD, "1.46 1.64 - 3.01 3.40 5.31 4.85 6.22"),
    _table_1("PseudoClick", "HRNet-18", SBD, "- 2.04 - 3.23 - 5.40 4.81 6.57"),
    _table_1("GPCIS", "HRNet-18s-S2", SBD, "1.74 1.94 1.83 2.65 4.28 6.25 4.62 6.16"),
    _table_1("GPCIS", "SegF-B0-S2", SBD, "1.60 1.76 1.84 2.70 4.16 6.28 4.45 6.04"),
    _table_1("EMC", "HRNet-18", SBD, "1.74 1.84 - 3.03 3.38 5.51 5.05 6.71"),
    _table_1("FCF", "ResNet-101", SBD, "1.64 1.80 - 2.84 3.26 5.35 4.75 6.48"),
    _table_1("iCMFormer", "ViT-B", SBD, "1.36 1.42 1.42 2.52 3.33 5.31 4.05 5.58"),
    _table_1("iCMFormer", "Swin-B", SBD, "1.46 1.50 1.52 2.32 3.21 5.16 4.25 5.55"),
    _table_1("RITM", "HRNet-18", COCO_LVIS, "1.42 1.54 - 2.26 3.80 6.06 4.36 5.74"),
    _table_1("RITM", "HRNet-32", COCO_LVIS, "1.46 1.56 - 2.10 3.59 5.71 4.11 5.34"),
    _table_1("FocalClick", "HRNet-32-S2", COCO_LVIS, "1.64 1.80 - 2.36 4.24 6.51 4.01 5.39"),
    _table_1("FocalClick", "SegF-B0-S2", COCO_LVIS, "1.40 1.66 - 2.27 4.56 6.86 4.04 5.49"),
    _table_1("PseudoClick", "HRNet-32", COCO_LVIS, "- 1.50 - 2.08 - 5.54 3.79 5.11"),
    _table_1("EMC", "SegF-B3", COCO_LVIS, "1.42 1.48 - 2.35 3.44 5.57 4.49 5.69"),
    _table_1("FCF", "HRNet-18", COCO_LVIS, "1.38 1.46 - 1.96 3.63 5.83 3.97 5.16"),
    _table_1("iCMFormer", "ViT-B", COCO_LVIS, "1.42 1.52 1.40 1.86 3.29 5.30 3.40 5.06"),
    _table_1("iCMFormer", "Swin-S", COCO_LVIS, "1.46 1.60 1.49 1.93 3.34 5.35 3.46 5.07"),
    _table_1("iCMFormer", "Swin-B", COCO_LVIS, "1.42 1.54 1.42 2.03 3.12 5.11 3.48 5.03"),
)

# Newer than the paper, or not in its table.
PEERS = (
    _table_1("SimpleClick", "ViT-B", SBD, "1.40 1.54 1.44 2.46 3.28 5.24 4.10 5.48", SIMPLECLICK),
    _table_1("SimpleClick", "ViT-H", SBD, "- - - - - 4.15 4.20 5.34", SIMPLECLICK),
    _table_1("MFP", "ViT-B", SBD, "1.38 1.48 1.39 2.17 3.21 5.24 3.92 5.32", MFP),
    _table_1("CDNet", "ResNet-34", COCO_LVIS, "1.40 1.52 1.47 2.06 4.30 7.04 4.27 5.56", MFP),
    _table_1("DynaMITe", "Swin-L", COCO_LVIS, "1.62 1.72 1.39 1.90 3.32 5.64 3.80 5.09", MFP),
    _table_1(
        "FocalClick", "SegF-B3-S2", COCO_LVIS, "1.44 1.50 1.55 1.92 3.53 5.59 3.61 4.90", CLICKSEG
    ),
    _table_1(
        "SimpleClick", "ViT-B", COCO_LVIS, "1.38 1.48 1.36 1.97 3.43 5.62 3.66 5.06", SIMPLECLICK
    ),
    _table_1("MFP", "ViT-B", COCO_LVIS, "1.34 1.42 1.35 1.90 3.26 5.34 3.37 4.81", MFP),
    _table_1("SegNext", "ViT-B, sax2", COCO_LVIS, "- - - - - - - 5.34", SEGNEXT),
    _table_1("CFR-ICL", "ViT-H", COCO_LVIS, "- - - 1.46 - - 3.00 4.24", AGGREGATOR),
    _table_1(
        "FocalClick",
        "SegF-B3-S2",
        "8 data sets",
        "1.22 1.26 1.35 1.48 3.70 5.84 2.92 4.52",
        CLICKSEG,
    ),
)

_TABLE_2 = "iCMFormer paper, table 2"
_TABLE_7 = "iCMFormer paper, table 7"
FAILURES = (
    _failures("BRS", "", SBD, _TABLE_2, {"Berkeley": (None, 10), "DAVIS": (None, 77)}),
    _failures(
        "f-BRS",
        "",
        SBD,
        _TABLE_2,
        {"Berkeley": (None, 2), "SBD": (None, 1466), "DAVIS": (None, 78)},
    ),
    _failures("CDNet", "", SBD, _TABLE_7, {"DAVIS": (46, 65)}),
    _failures("FocusCut", "", SBD, _TABLE_2, {"DAVIS": (None, 57)}),
    _failures("FCF", "", SBD, _TABLE_2, {"Berkeley": (None, 3), "DAVIS": (None, 59)}),
    _failures(
        "iCMFormer",
        "ViT-B",
        SBD,
        "iCMFormer paper, tables 2 and 7",
        {"Berkeley": (None, 2), "SBD": (236, 693), "DAVIS": (30, 53)},
    ),
    _failures(
        "iCMFormer",
        "Swin-B",
        SBD,
        "iCMFormer paper, tables 2 and 7, appendix B",
        {"GrabCut": (0, 0), "Berkeley": (0, 1), "SBD": (242, 698), "DAVIS": (36, 53)},
    ),
    _failures("RITM", "HRNet-18", COCO_LVIS, _TABLE_7, {"DAVIS": (52, 91)}),
    _failures("FocalClick", "HRNet-18", COCO_LVIS, _TABLE_7, {"DAVIS": (49, 77)}),
    _failures("FocalClick", "SegF-B0-S2", COCO_LVIS, _TABLE_7, {"DAVIS": (50, 86)}),
    _failures("iCMFormer", "ViT-B", COCO_LVIS, _TABLE_7, {"SBD": (225, 695), "DAVIS": (20, 49)}),
    _failures("iCMFormer", "Swin-B", COCO_LVIS, _TABLE_7, {"SBD": (237, 667), "DAVIS": (20, 48)}),
)

TABLE_3 = (
    PublishedCost("ResNet-101 (FocusCut)", 384, 59.35, 102.02, 384),
    PublishedCost("HRNet-18s (RITM)", 400, 4.22, 17.84, 64),
    PublishedCost("HRNet-18 (RITM)", 400, 10.03, 30.80, 70),
    PublishedCost("HRNet-32 (RITM)", 400, 30.95, 82.84, 84),
    PublishedCost("SegF-B0-S2 (FocalClick)", 256, 3.72, 3.54, 42),
    PublishedCost("SegF-B3-S2 (FocalClick)", 256, 45.66, 25.34, 76),
    PublishedCost("iCMFormer ViT-B", 448, 124.81, 297.54, 78),
    PublishedCost("iCMFormer Swin-S", 224, 68.14, 106.74, 74),
    PublishedCost("iCMFormer Swin-B", 384, 104.25, 153.78, 86),
)


def _table_8(backbone: str, cross_blocks: int, numbers: str) -> PublishedRow:
    return _table_1(
        f"iCMFormer, {cross_blocks} cross-modality blocks",
        backbone,
        ABLATIONS,
        numbers,
        "iCMFormer paper, table 8",
    )


TABLE_8 = (
    _table_8("ViT-B", 1, "1.46 1.68 1.50 2.56 3.28 5.25 4.20 5.60"),
    _table_8("ViT-B", 2, "1.44 1.52 1.46 2.55 3.32 5.31 4.09 5.62"),
    _table_8("ViT-B", 3, "1.36 1.42 1.42 2.52 3.33 5.31 4.05 5.58"),
    _table_8("ViT-B", 6, "1.52 1.58 1.47 2.54 3.37 5.36 4.17 5.75"),
    _table_8("ViT-B", 8, "1.54 1.66 1.59 2.45 3.32 5.30 4.10 5.54"),
    _table_8("Swin-B", 1, "1.48 1.56 1.56 2.57 3.31 5.41 4.38 6.07"),
    _table_8("Swin-B", 2, "1.42 1.62 1.56 2.58 3.28 5.25 4.18 5.70"),
    _table_8("Swin-B", 4, "1.46 1.50 1.52 2.32 3.21 5.16 4.25 5.55"),
    _table_8("Swin-B", 6, "1.46 1.62 1.55 2.64 3.24 5.29 4.34 5.68"),
    _table_8("Swin-B", 8, "1.40 1.62 1.55 2.50 3.28 5.34 4.25 5.67"),
)


def _ablation(table: int, method: str, backbone: str, numbers: str) -> PublishedRow:
    """Read NoC90 of the four data sets, "-" where the source has none."""
    both = " ".join(f"- {number}" for number in numbers.split())
    source = f"iCMFormer paper, table {table}"
    return _table_1(f"iCMFormer, {method}", backbone, ABLATIONS, both, source)


TABLE_4 = (
    _ablation(4, "without cross-modality", "ViT-B, no hierarchy", "- 2.55 6.05 5.76"),
    _ablation(4, "without cross-modality", "Swin-B, hierarchy", "- 2.58 5.57 5.63"),
    _ablation(4, "with cross-modality", "ViT-B, no hierarchy", "- 2.52 5.31 5.58"),
    _ablation(4, "with cross-modality", "Swin-B, hierarchy", "- 2.32 5.16 5.55"),
)

# X is the image, Y the clicks; the last of each names which guides which.
TABLE_5 = (
    _ablation(5, "X, YX", "ViT-B", "2.76 4.82 8.11 8.40"),
    _ablation(5, "X, XY", "ViT-B", "1.74 2.47 5.81 5.60"),
    _ablation(5, "X, Y, YX", "ViT-B", "1.72 2.60 5.53 5.80"),
    _ablation(5, "X, Y, XY", "ViT-B", "1.42 2.52 5.31 5.58"),
)


def click_rows() -> Iterator[PublishedRow]:
    """Yield the rows of numbers of clicks: table 1, then peers, then the ablations."""
    yield from TABLE_1
    yield from PEERS
    yield from (*TABLE_4, *TABLE_5, *TABLE_8)
