"""Turns masks into a better model: data sets, simulated clicks, recipes, benchmarks."""

# Of the whole project. Here, because importing icmformer takes as long as importing torch does.
__version__ = "0.1.0"
