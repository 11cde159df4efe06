"""Turns masks into a better model: data sets, simulated clicks, recipes, benchmarks."""

from pathlib import Path

# Of the whole project. Read, because importing icmformer takes as long as importing torch does.
__version__ = (Path(__file__).parents[1] / "icmformer" / "version.txt").read_text().strip()
