"""Turns masks into a better model: data sets, simulated clicks, recipes, benchmarks."""
