"""Recipes on disk: YAML mappings that may extend each other, checked to the last key."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from training.errors import RecipeError
from training.misspelling import did_you_mean

Settings = dict[str, Any]
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
"""Of every model of settings: a name that is unknown, or a number that is none, stops a run."""
_KIND = "kind"  # the setting that says which others there are
_SHIPPED = Path(__file__).with_name("recipes")
Model = TypeVar("Model", bound=BaseModel)


def read_settings(path: Path) -> Settings:
    """Return what a recipe file says; its key `extends` names a file beside it that it changes.

    Raises:
        RecipeError: if the file is missing, no YAML mapping in UTF-8, or extends itself.
    """
    return _read_settings(path, ())


def _read_settings(path: Path, changing: tuple[Path, ...]) -> Settings:
    if path.resolve() in changing:
        raise RecipeError(f"the recipe {path} extends itself")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {path} is no text in UTF-8: save it as such") from error
    except OSError as error:
        hint = _shipped_like(path)
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror}{hint}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"the recipe {path} is not a YAML mapping")
    base = values.pop("extends", None)
    if base is None:
        return values
    extended = _read_settings(path.parent / str(base), (*changing, path.resolve()))
    change(extended, values)
    return extended


def _shipped_like(path: Path) -> str:
    """Say where the recipe of that name lies that comes with this package, if there is one."""
    shipped = _SHIPPED / path.name
    return f"; the one that is shipped is {shipped}" if shipped.is_file() else ""


def change(values: Settings, changes: Settings) -> None:
    """Change settings in place, key by key where both are mappings; else replaced whole.

    So is a mapping by one of another `kind`, which has settings of its own.
    """
    values.update(_changed(values, (), changes))


def override(values: Settings, overrides: Sequence[str]) -> None:
    """Change settings in place, each given as `key=value`: keys with dots, values as in YAML.

    Mappings change each other as in `change`.
    In a list a number selects an item: `stages.0.size`, or from the end, `stages.-1.size`.

    Raises:
        RecipeError: for one without "=", whose value is no YAML, or that names no item of a list.
    """
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise RecipeError(f"{text!r} is not of the form key=value")
        try:
            values.update(_changed(values, key.split("."), yaml.safe_load(value)))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = getattr(error, "problem", error)  # without the lines that point into it
            raise RecipeError(f"the value of {text!r} is no YAML: {reason}") from error


def changed_places(was: Any, now: Any, place: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the places where two settings differ, with dots, and the values there: was and is."""
    pairs: list[tuple[str, Any, Any]]
    if isinstance(was, dict) and isinstance(now, dict):
        pairs = [(key, was.get(key), now.get(key)) for key in was | now]
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [(str(number), *both) for number, both in enumerate(zip(was, now, strict=True))]
    else:
        if was != now:
            yield place, (was, now)
        return
    for key, before, after in pairs:
        yield from changed_places(before, after, f"{place}.{key}" if place else key)


def validate(model: type[Model], values: Settings, name: str) -> Model:
    """Return the recipe that the settings describe.

    Args:
        model: the kind of recipe.
        values: its settings.
        name: what to call it in an error.

    Raises:
        RecipeError: naming every unknown or impossible setting.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problems(model, error.errors()))
        raise RecipeError(f"{name} does not work: {problems}") from error


def _problems(model: type[BaseModel], found: Sequence[ErrorDetails]) -> Iterator[str]:
    listed = set()
    for details in found:
        place, where = details["loc"], ".".join(str(part) for part in details["loc"])
        if details["type"] == "extra_forbidden":
            *parents, name = place
            known = _settings_at(model, parents)
            hint = did_you_mean(str(name), known)
            if not hint and tuple(parents) not in listed:
                listed.add(tuple(parents))
                hint = f"; there are {', '.join(known)}"
            yield f"{where} is not a setting{hint}"
        elif not _follows_from_others(details, found):
            what = details["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
            what = what.removesuffix(" for <class 'pathlib.Path'>")
            yield f"{where}: {what}" if where else what


def _follows_from_others(details: ErrorDetails, found: Sequence[ErrorDetails]) -> bool:
    """Whether a list is said to be too short only because its items are wrong."""
    place = details["loc"]
    inside = (each["loc"] for each in found if len(each["loc"]) > len(place))
    return details["type"] == "too_short" and any(each[: len(place)] == place for each in inside)


def _settings_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Return the names of the settings at this place of a recipe."""
    models = [model]
    for part in place:
        # A part that is no setting is the number of an item, or the kind of what follows.
        fields = [each.model_fields[part] for each in models if part in each.model_fields]
        inside = [found for field in fields for found in _models_in(field.annotation)]
        models = inside or [each for each in models if _is_of_kind(each, part)] or models
    return sorted({name for each in models for name in each.model_fields})


def _is_of_kind(model: type[BaseModel], kind: int | str) -> bool:
    return _KIND in model.model_fields and kind in get_args(model.model_fields[_KIND].annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type(BaseModel)):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _changed(there: Any, keys: Sequence[str], value: Any, place: str = "") -> Any:
    """Return settings with a value at the place that the keys lead to.

    What was there stays as it is: by an alias in the file (`*name`), it may be there twice.
    """
    if keys:
        key, *inner = keys
        inside = f"{place}.{key}" if place else key
        if isinstance(there, list):
            chosen = _item(there, key, place)
            return [
                _changed(item, inner, value, inside) if number == chosen else item
                for number, item in enumerate(there)
            ]
        settings = there if isinstance(there, dict) else {}
        return settings | {key: _changed(settings.get(key), inner, value, inside)}
    if isinstance(there, dict) and isinstance(value, dict) and not _of_another_kind(there, value):
        return there | {key: _changed(there.get(key), (), new) for key, new in value.items()}
    return value


def _of_another_kind(there: Settings, value: Settings) -> bool:
    return _KIND in there and _KIND in value and there[_KIND] != value[_KIND]


def _item(items: list[Any], key: str, place: str) -> int:
    """Return which item of the list at this place a key selects, counted from 0."""
    try:
        return range(len(items))[int(key)]
    except (ValueError, IndexError):
        last = len(items) - 1
        count = f"of {len(items)}, such as {place}.{last}" if items else "of none"
        raise RecipeError(
            f"{place}.{key} is not there: {place} is a list {count}, counted from 0"
        ) from None
