"""Whether a recipe continues the run whose state lies in its folder, or is another experiment."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from icmformer import ModelConfig
from icmformer.errors import ConfigError
from training.errors import RecipeError
from training.loop.recipe import Recipe
from training.recipe_files import changed_places


def differing_numbers(found: ModelConfig, wanted: ModelConfig) -> dict[str, tuple[str, str]]:
    """Return which numbers of two networks differ, as JSON: name → found and wanted.

    The input size does not count: it is nominal.
    """
    others = wanted.to_dict()
    texts = {key: (_text(value), _text(others[key])) for key, value in found.to_dict().items()}
    return {
        key: (text, other)
        for key, (text, other) in texts.items()
        if key != "input_size" and text != other
    }


def changed_settings(state: Mapping[str, Any] | None, recipe: Recipe) -> str:
    """Return what the recipe changes about the run of a state, in words to append; "" if nothing.

    A run may be prolonged, moved, and go on at another rate or in other batches.

    Args:
        state: of the run; None if it has none yet.
        recipe: by which it is to go on.

    Raises:
        RecipeError: if the state is of no training, of another network, or of another seed, or if
            its optimiser has other groups of weights.
    """
    if state is None:
        return ""
    advice = "choose another run folder (run=FOLDER)"
    if not isinstance(state, Mapping) or not {"config", "recipe"} <= state.keys():
        raise RecipeError(
            f"{recipe.run} holds the state of another network, or of another kind of run: {advice}"
        )
    try:
        differing = differing_numbers(ModelConfig.from_dict(state["config"]), recipe.network.config)
    except (ConfigError, TypeError, ValueError) as error:
        raise RecipeError(
            f"{recipe.run} holds the state of another network ({error}): {advice}"
        ) from error
    if differing:
        name, (found, wanted) = next(iter(differing.items()))
        raise RecipeError(
            f"{recipe.run} holds the state of another network, its {name} is {found}, the"
            f" recipe's {wanted}: {advice}"
        )
    changes = dict(changed_places(state["recipe"], recipe.model_dump(mode="json")))
    if "seed" in changes:
        was, now = changes["seed"]
        raise RecipeError(
            f"{recipe.run} holds the state of another run, of seed {was}, the recipe's is {now}:"
            f" {advice}"
        )
    was, now = changes.get("optimization.layer_decay", (None, None))
    if 1 in (was, now):
        # Then the optimiser has one group of weights for all layers, else one for each.
        raise RecipeError(
            f"{recipe.run} holds the state of a run with optimization.layer_decay={was}, the"
            f" recipe's is {now}: keep it, or {advice}"
        )
    changes.pop("run", None)
    named = [f"{name}={_text(now)} (was {_text(was)})" for name, (was, now) in changes.items()]
    return f", with other settings than before: {', '.join(named)}" if named else ""


def changed_data(found: Sequence[tuple[str, int]], now: Sequence[tuple[str, int]]) -> str:
    """Return which parts hold other images than before, in words; "" if none do.

    Args:
        found: in the state that is continued from, see `contents`; empty without one.
        now: as they were opened.
    """
    pairs = list(zip(found, now, strict=False))
    parts = [
        f"data.parts.{number} ({new[1]} images, {old[1]} before)"
        for number, (old, new) in enumerate(pairs)
        if old != new
    ]
    return ", ".join(parts)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
