"""Which tags of a labelling configuration a click comes from, and which one its mask goes to.

A project works with this backend when one `<Image>` carries both a smart `<KeyPointLabels>` and a
`<BrushLabels>` with the same label names: the click names a label, and the mask is returned under
the brush label of that name. Everything that would leave an annotator clicking in vain is said here
in a sentence, because /setup is the only place where Label Studio shows one to a person.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lxml import etree

from ml_backend.errors import LabelingConfigError, TaskImageError
from ml_backend.short_text import listed, shortened

MAX_CHARACTERS = 1_000_000
# Servers take no more. Whatever reads an address lets no other thread compute meanwhile.
LONGEST_ADDRESS = 8_000
_VARIABLE = re.compile(r"\$([\w\[\].]+)")
_STEP = re.compile(r"\w+")
_IN_BRACKETS = re.compile(r"\[(\w+)\]")
_INDEX = re.compile("[0-9]{1,9}")
_CONTROLS = frozenset({"brushlabels", "keypointlabels", "rectanglelabels"})
_LONGEST_REASON = 200
_NO_CLICKS = 'if these points are no clicks, set smart="false" on them'
_NO_BOXES = 'if these boxes ask for no masks, set smart="false" smartOnly="false" on them'
_Tag = dict[str, Any]


@dataclass(frozen=True)
class Control:
    """A tag that regions are drawn with: its name, and the names of its labels in order."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ImageTag:
    """The `<Image>` that is drawn on.

    Attributes:
        name: regions refer to it as `to_name`.
        value: where its address is, such as `$image`.
    """

    name: str
    value: str

    @property
    def key(self) -> str:
        """Return where in a task's data the image's address is: `image`, `photo.url`."""
        variable = _VARIABLE.search(self.value)
        return variable[1] if variable else self.value

    def address(self, data: Mapping[str, Any]) -> Any:
        """Return what a task's data hold as the image, "" if they hold nothing.

        As in the editor, the variables of `value` are replaced: `$image`, `$photo.url`,
        `$photos[0]`, or a text around them such as `https://example.com/?photo=$number`.

        Raises:
            TaskImageError: if it is too long, and does not hold the image itself.
        """
        variables = _VARIABLE.findall(self.value)
        if self.value == f"${variables[0]}":
            address = _look_up(data, variables[0])
        else:
            texts = _texts(data, variables)
            address = _VARIABLE.sub(lambda match: next(texts), self.value)
        if isinstance(address, str) and not address.lstrip().startswith("data:"):
            _refuse_long(len(address))
        return address


@dataclass(frozen=True)
class LabelingConfig:
    """What this backend needs to know of a project's labelling configuration.

    Attributes:
        image: the `<Image>`.
        brushes: the `<BrushLabels>` of that image.
        keypoints: its smart `<KeyPointLabels>`.
    """

    image: ImageTag
    brushes: tuple[Control, ...]
    keypoints: tuple[Control, ...]

    @property
    def brush_labels(self) -> tuple[str, ...]:
        """Return all labels a mask can carry, each once, in order."""
        return tuple(self._brushes_of)

    def brush_for(self, label: str) -> str | None:
        """Return the name of the brush that has this label, None if none has."""
        return next(iter(self.brushes_for(label)), None)

    def brushes_for(self, label: str) -> Sequence[str]:
        """Return the names of all brushes that have this label, in order."""
        return self._brushes_of.get(label, ())

    @cached_property
    def _brushes_of(self) -> Mapping[str, Sequence[str]]:
        brushes_of: dict[str, list[str]] = {}
        for brush in self.brushes:
            for label in brush.labels:
                brushes_of.setdefault(label, []).append(brush.name)
        return brushes_of


def parse(xml: str) -> LabelingConfig:
    """Read a labelling configuration.

    Raises:
        LabelingConfigError: if it cannot work with this backend; the text says what to change.
    """
    tags = _tags(xml)
    image = _the_image(tags)
    name = image.name
    brushes = _controls(tags, "brushlabels", name, lambda tag: True)
    if not brushes:
        raise LabelingConfigError(
            _no_control("BrushLabels", tags, name, 'name="brush" smart="false"')
        )
    keypoints = _controls(tags, "keypointlabels", name, _is_smart)
    if not keypoints:
        raise LabelingConfigError(_no_keypoints(tags, name))
    config = LabelingConfig(image, brushes, keypoints)
    _check_labels(config)
    # Labels that come from the task data are known only there.
    boxes = _controls(
        tags, "rectanglelabels", name, lambda tag: _asks_for_masks(tag) and not _is_dynamic(tag)
    )
    for box in boxes:
        _check_masks(box, "rectangles", _NO_BOXES, config)
    return config


def parse_image(xml: str) -> ImageTag:
    """Read where a project's image is, which is all that masks need once they are accepted.

    Raises:
        LabelingConfigError: if there is not exactly one image.
    """
    return _the_image(_tags(xml))


def magic_controls(xml: str) -> set[str]:
    """Return the names of the keypoints and rectangles that masks are asked for with.

    Other points may be landmarks. Other rectangles may be all that a project wants, so they count
    only where their tag says that it is smart, although the editor takes it for granted.

    Raises:
        LabelingConfigError: if it is no labelling configuration.
    """
    return {str(tag["name"]) for tag in _tags(xml) if tag.get("name") and _asks_for_masks(tag)}


def _asks_for_masks(tag: _Tag) -> bool:
    if tag["tag"] == "rectanglelabels":
        return "true" in (tag.get("smart", "").lower(), tag.get("smartonly", "").lower())
    return tag["tag"] == "keypointlabels" and _is_smart(tag)


def _tags(xml: str) -> list[_Tag]:
    """Return the attributes of every tag in document order, names in lower case as the editor does.

    Two keys are added: `tag`, and for controls `labels`, the `<Label>` tags within.
    """
    if not isinstance(xml, str) or not xml.strip():
        raise LabelingConfigError("the project has no labelling configuration")
    if len(xml) > MAX_CHARACTERS:
        raise LabelingConfigError(f"the labelling configuration exceeds {MAX_CHARACTERS} letters")
    # The text comes from whoever can reach this server: no entities, no files, no network.
    if "<!DOCTYPE" in xml:
        raise LabelingConfigError("the labelling configuration must not contain a DOCTYPE")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, encoding="utf-8"
    )
    try:
        root = etree.fromstring(xml.strip().encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError as error:
        why = shortened(str(error), _LONGEST_REASON)
        raise LabelingConfigError(f"the labelling configuration is not XML: {why}") from error
    return _attributes(root)


def _attributes(root: Any) -> list[_Tag]:
    tags: list[_Tag] = []
    labels_at: dict[Any, list[_Tag]] = {}  # by element: those of the innermost control around it
    for element in root.iter(etree.Element):
        tag: _Tag = {name.lower(): value for name, value in element.attrib.items()}
        tag["tag"] = element.tag.lower()
        labels = labels_at.get(element.getparent(), [])
        if tag["tag"] in _CONTROLS:
            labels = tag["labels"] = []
        elif tag["tag"] == "label":
            labels.append(tag)
        labels_at[element] = labels
        tags.append(tag)
    return tags


def _the_image(tags: Sequence[_Tag]) -> ImageTag:
    images = [tag for tag in tags if tag["tag"] == "image"]
    if not images:
        raise LabelingConfigError(
            'the labelling configuration has no image: add <Image name="image" value="$image"/>'
        )
    if len(images) > 1:
        names = _quoted([tag.get("name", "?") for tag in images])
        raise LabelingConfigError(
            f"the labelling configuration has several images ({names}): this backend serves tasks "
            "with one <Image>, so split them into tasks of their own"
        )
    image = images[0]
    if "valuelist" in image or _is_repeated(image, tags):
        raise LabelingConfigError(
            "the <Image> tag shows a list of images (valueList or <Repeater>): this backend serves "
            'tasks with one image, so import each as a task and use value="$image"'
        )
    if not image.get("name") or not _names_a_key(image.get("value", "")):
        raise LabelingConfigError(
            'the <Image> tag needs a name and a value such as "$image" or "$images[0]", the key of '
            "the task data that holds the image's address"
        )
    return ImageTag(image["name"], image["value"])


def _names_a_key(value: str) -> bool:
    """Say whether a value names a key of the task data; an index in brackets is a usable number."""
    variables = _VARIABLE.findall(value)
    steps = [step for variable in variables for step in _IN_BRACKETS.findall(variable)]
    return bool(variables) and all(_INDEX.fullmatch(s) for s in steps if s.isdigit())


def _is_repeated(image: _Tag, tags: Sequence[_Tag]) -> bool:
    """Say whether a `<Repeater>` makes one image of each entry of a list, by its index."""
    indices = [tag.get("indexflag", "{{idx}}") for tag in tags if tag["tag"] == "repeater"]
    return any(index in image.get("value", "") for index in indices)


def _controls(
    tags: Sequence[_Tag], kind: str, image_name: str, wanted: Callable[[_Tag], bool]
) -> tuple[Control, ...]:
    return tuple(
        Control(tag["name"], _label_names(tag))
        for tag in tags
        if tag["tag"] == kind and tag.get("name") and _is_on(tag, image_name) and wanted(tag)
    )


def _is_on(tag: _Tag, image_name: str) -> bool:
    return image_name in [name.strip() for name in tag.get("toname", "").split(",")]


def _is_smart(tag: _Tag) -> bool:
    """Follow the editor: a control is smart unless it says otherwise; smartOnly overrules."""
    smart: str = tag.get("smart", "true")
    only: str = tag.get("smartonly", "false")
    return smart.lower() != "false" or only.lower() == "true"


def _label_names(tag: _Tag) -> tuple[str, ...]:
    """Return what a region's labels are called: a label's alias if it has one, else its value."""
    if _is_dynamic(tag):
        raise LabelingConfigError(
            f"the labels of {_quoted([tag['name']])} come from the task data, so they are not "
            'known while connecting: list them as <Label value="..."/> tags'
        )
    return tuple(dict.fromkeys(name for name in _written_names(tag) if name))


def _is_dynamic(tag: _Tag) -> bool:
    is_variable = any(name.startswith("$") for name in [tag.get("value", ""), *_written_names(tag)])
    return is_variable or "apiurl" in tag


def _written_names(tag: _Tag) -> list[str]:
    return [label.get("alias") or label.get("value", "") for label in tag["labels"]]


def _no_control(kind: str, tags: Sequence[_Tag], image_name: str, attributes: str) -> str:
    elsewhere = [t.get("name", "?") for t in tags if t["tag"] == kind.lower()]
    if elsewhere:
        return (
            f"no <{kind}> belongs to the image: set toName={_quoted([image_name])} on "
            f"{_quoted(elsewhere)}"
        )
    return (
        f"the labelling configuration has no <{kind}>: add <{kind} {attributes} "
        f"toName={_quoted([image_name])}> with the same <Label> tags as the other controls"
    )


def _no_keypoints(tags: Sequence[_Tag], image_name: str) -> str:
    plain = [
        tag.get("name", "?")
        for tag in tags
        if tag["tag"] == "keypointlabels" and _is_on(tag, image_name)
    ]
    if plain:
        return (
            f"the keypoints {_quoted(plain)} are not smart, so clicks never reach this backend: "
            'set smart="true" smartOnly="true" on them'
        )
    attributes = 'name="keypoint" smart="true" smartOnly="true"'
    return _no_control("KeyPointLabels", tags, image_name, attributes)


def _check_labels(config: LabelingConfig) -> None:
    brushes = _quoted([brush.name for brush in config.brushes])
    if not config.brush_labels:
        raise LabelingConfigError(
            f"the brush {brushes} has no labels: give it the <Label> tags of the keypoints"
        )
    for control in config.keypoints:
        _check_masks(control, "keypoints", _NO_CLICKS, config)
        if not control.labels:
            raise LabelingConfigError(
                f"the keypoints {_quoted([control.name])} have no labels: give them the <Label> "
                f"tags of the brush {brushes}"
            )


def _check_masks(control: Control, called: str, otherwise: str, config: LabelingConfig) -> None:
    """Refuse labels for whose masks there is no brush, or more than one."""
    missing = [label for label in control.labels if config.brush_for(label) is None]
    if missing:
        brushes = _quoted([brush.name for brush in config.brushes])
        raise LabelingConfigError(
            f"{_quoted(missing)} of the {called} {_quoted([control.name])} is no label of the "
            f"brush {brushes}, which has {_quoted(config.brush_labels)}: give both the same "
            f"labels, spelled alike, or, {otherwise}"
        )
    for label in control.labels:
        owners = config.brushes_for(label)
        if len(owners) > 1:
            raise LabelingConfigError(
                f"{_quoted([label])} of the {called} {_quoted([control.name])} is a label of "
                f"several brushes ({_quoted(owners)}), so nothing says which one a mask is for: "
                f"call the labels differently, such as {_quoted([f'{label} {owners[0]}'])}"
            )


def _quoted(names: Sequence[str]) -> str:
    return listed(names, mark='"')


def _look_up(data: Any, path: str) -> Any:
    if path in data:
        return data[path]
    for step in _STEP.findall(path):
        if isinstance(data, Mapping):
            data = data.get(step, "")
        elif isinstance(data, list) and _INDEX.fullmatch(step) and int(step) < len(data):
            data = data[int(step)]
        else:
            return ""
    return data


def _texts(data: Any, variables: Sequence[str]) -> Iterator[str]:
    """Return what to put for each variable: a long text for one alone, which may be an image."""
    length = 0
    for variable in variables:
        text = str(_look_up(data, variable))
        length += len(text)
        if len(variables) > 1:
            _refuse_long(length)
        yield text


def _refuse_long(length: int) -> None:
    if length > LONGEST_ADDRESS:
        raise TaskImageError(
            f"has an image address of more than {LONGEST_ADDRESS} letters, which is longer than "
            "servers take: correct it in the task's data"
        )
