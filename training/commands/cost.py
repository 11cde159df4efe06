"""What a network costs: `python -m training cost [NAME …]` (tables 3 and 8 of the paper).

Parameters and FLOPs are counted twice, as the paper does and honestly; seconds are measured.
"""

import argparse
import sys
from dataclasses import astuple, replace
from pathlib import Path

from icmformer import MODEL_NAMES, ModelConfig
from icmformer.errors import ConfigError
from icmformer.variants import variant_config
from training.devices import add_device_argument
from training.errors import BenchmarkError
from training.evaluation.network_cost import Cost, Seconds, count, measure
from training.evaluation.published import TABLE_3
from training.evaluation.text_table import text_table
from training.loop.recipe import load_recipe
from training.progress import progress
from training.provenance import provenance
from training.whole_numbers import natural

# Swin-S is trained at 224 pixels, but the FLOPs that table 3 prints for it are those of 384.
DEFAULT_VARIANTS = (
    "vit_base",
    "vit_large",
    "vit_huge",
    "swin_base",
    "swin_small",
    "swin_small@384",
    "starter",
)
_COLUMNS = (
    "network",
    "size",
    "param/M paper",
    "GFLOPs paper",
    "param/M",
    "GFLOPs",
    "image half",
    "s/click paper",
    "further",
    "unmirrored",
)
_EXPLANATION = """\
param/M paper   parameters in millions as the profiler thop counts them: without position
                embedding, relative position bias and GroupNorm; cut off after two decimals.
GFLOPs paper    twice the multiply-accumulates that thop finds in the released code for one pass:
                without the matrix products of attention, but with transposed convolutions counted
                fourfold, and with projections whose results the released code throws away.
param/M         all parameters of this implementation.
GFLOPs          all matrix products and convolutions of one pass of this implementation, those of
                attention included; two FLOPs for a multiply-accumulate.
image half      the share of these that depends on the image alone. It is computed once, and again
                only when the crop changes.
s/click paper   seconds for all of it, for image and mirror image: what the published protocol pays
                for every click. Network only; {repeats}.
further         seconds for the click half, for image and mirror image: what a further click of
                a benchmark costs here while the crop stays the same.
unmirrored      the same without the mirror image.
Published rows were measured on an NVIDIA A40; seconds on different hardware do not compare.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        default=list(DEFAULT_VARIANTS),
        help=f"of {', '.join(MODEL_NAMES)}, or a recipe.yaml for its network; NAME@SIZE for"
        " another input size in pixels",
    )
    add_device_argument(parser)
    parser.add_argument(
        "--repeats",
        type=natural,
        default=3,
        help="passes of which the fastest counts; 0 times nothing",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    networks = [parse_network(text) for text in arguments.names]
    rows = []
    for name, config in progress(networks, unit="network", leave=False):
        timed = arguments.repeats > 0
        seconds = measure(config, arguments.device, arguments.repeats) if timed else None
        rows.append(_row(name, config.input_size[0], count(config), seconds))
    where = provenance(arguments.device)
    is_timed = arguments.repeats > 0
    repeats = f"the fastest of {arguments.repeats}" if is_timed else "not measured (--repeats 0)"
    sys.stdout.write(
        f"{text_table([_COLUMNS, *rows, *_published_rows()])}\n"
        f"{_EXPLANATION.format(repeats=repeats)}\n"
        f"{where.command}\n{where.commit}; {where.hardware}; {where.software}; {where.date}\n"
    )


def parse_network(text: str) -> tuple[str, ModelConfig]:
    """Read NAME or RECIPE.yaml, perhaps with @SIZE behind it; return a short name and the network.

    Raises:
        ConfigError: if there is no such network.
        RecipeError: if the recipe cannot be read.
        BenchmarkError: if the size is not a number.
    """
    # The path of a recipe may hold an @ of its own.
    has_size = "@" in text and not _is_recipe(text)
    name, at, size = text.rpartition("@") if has_size else (text, "", "")
    config = load_recipe(Path(name)).network.config if _is_recipe(name) else variant_config(name)
    if at and not size.isdecimal():
        raise BenchmarkError(f"{size!r} in {text!r} is not a size in pixels, such as 448")
    if at:
        try:
            config = replace(config, input_size=(int(size), int(size)))
        except ConfigError as error:
            raise ConfigError(f"{text}: {error}") from error
    return Path(name).stem if _is_recipe(name) else name, config


def _is_recipe(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml")


def _row(name: str, size: int, cost: Cost, seconds: Seconds | None) -> tuple[str, ...]:
    flops = cost.image_flops + cost.click_flops
    return (
        name,
        f"{size}",
        # As the paper does: the one is cut off, the other rounded before it is doubled.
        f"{cost.paper_parameters // 10_000 / 100:.2f}",
        f"{2 * round(cost.paper_macs / 1e9, 2):.2f}",
        *(f"{cost.parameters / 1e6:.2f}", f"{flops / 1e9:.2f}"),
        f"{cost.image_flops / flops:.0%}",
        *((f"{value:.3f}" for value in astuple(seconds)) if seconds else ("", "", "")),
    )


def _published_rows() -> list[tuple[str, ...]]:
    return [
        (
            f"published: {row.method}",
            str(row.size),
            f"{row.parameters_millions:.2f}",
            f"{row.giga_flops:.2f}",
            *("", "", ""),
            f"{row.milliseconds_per_click / 1000:.3f}",
            *("", ""),
        )
        for row in TABLE_3
    ]
