"""`python -m ml_backend check-recipe`: would a job know what to do? `work` asks it first."""

import argparse
import sys

from ml_backend.settings import load_settings
from training.fine_tuning.fine_tune_recipe import load_fine_tune_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: ICMFORMER_FINE_TUNE_RECIPE names the recipe."""


def run(arguments: argparse.Namespace) -> int:
    """Read the recipe as a job would, and say that it works.

    Raises:
        RecipeError: naming every setting that a job could not use.
    """
    recipe = load_settings().fine_tune_recipe
    load_fine_tune_recipe(recipe)
    sys.stdout.write(f"{recipe or 'the recipe that is packaged'} works\n")
    return 0
