"""Parses YAML strictly, into values that know their line; imports yaml and modules below it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml.reader import ReaderError

from partition_core.base.errors import Place, Problem, RecipeError, quoted
from partition_core.base.outside_files import opened
from partition_core.recipe.yaml_scalars import Ambiguous, is_boolean_of_yaml_1_1, plain_scalar
from partition_core.recipe.yaml_tree import Node, Scalar, Steps, path_text

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ALIASES = 100

_TAG = "tag:yaml.org,2002:"
_UNSPACED = re.compile(r"\s*([A-Za-z_]+):([^\s:/]\S*)")
_SYNTAX = (
    ("found character '\\t'", "a line is indented with a tab", "indent with spaces"),
    (
        "mapping values are not allowed",
        "there is a colon where no key can be",
        "check the indentation of this line, and put text that contains ': ' in quotes",
    ),
    (
        "expected <block end>",
        "the indentation does not match the lines before",
        "indent the keys of a mapping by the same amount",
    ),
    ("could not find expected ':'", "a key has no colon", "put a colon and a space after it"),
    ("expected ',' or '}'", "a '{' is not closed before this", "add a ',' or a '}'"),
    ("expected ',' or ']'", "a '[' is not closed before this", "add a ',' or a ']'"),
)
"""A message of PyYAML, its meaning, and the remedy."""


def _anywhere(_steps: Steps) -> bool:
    return True


@dataclass(frozen=True)
class YamlText:
    """The content of a file: a tree, or None if it cannot be parsed, and all problems.

    A refused scalar is in the tree as the text that was written.
    """

    root: Node | None
    problems: tuple[Problem, ...]


def read_yaml(path: Path, file: str, booleans: Callable[[Steps], bool] = _anywhere) -> YamlText:
    """Parse the file at `path`, which messages call `file`; for `booleans` see `parse_yaml`."""
    try:
        with opened(path) as stream:
            text = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return _unusable(Place(file), "there is no such file")
    except OSError as error:
        return _unusable(Place(file), f"cannot be read: {error.strerror or error}")
    return parse_yaml(text, file, booleans)


def parse_yaml(text: bytes, file: str, booleans: Callable[[Steps], bool] = _anywhere) -> YamlText:
    """Parse YAML text: one document whose top level is a mapping; messages call it `file`.

    `booleans` decides whether a boolean is possible at some steps. Only there are words
    refused that some parsers read as booleans (`y`, `no`, `on`); elsewhere they are text.
    """
    if len(text) > MAX_BYTES:
        return _unusable(Place(file), f"is too large; expected at most {MAX_BYTES} bytes")
    try:
        characters = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        return _unusable(Place(file, line), "is not UTF-8 text", "", "save the file as UTF-8")
    reader = _TreeReader(file, booleans)
    try:
        reader.read(characters)
    except RecipeError as error:  # the text exceeds a limit, so parsing stopped
        reader.problems += error.problems
    # PyYAML lets a wrong escape such as "\\UFFFFFFFF" through to chr() and int().
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reader.problems.append(_syntax_problem(error, file, characters))
    return YamlText(reader.root, tuple(reader.problems))


class _Loader(yaml.SafeLoader):
    """PyYAML's composer, that limits its recursion and records explicit tags."""

    def __init__(self, characters: str, file: str) -> None:
        super().__init__(characters)
        self.file = file
        self.depth = 0
        self.tags: dict[int, str] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if self.depth > MAX_DEPTH:
            raise _too_deep(Place(self.file, event.start_mark.line + 1))
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        tag = getattr(event, "tag", None)
        if tag is not None and node is not None:
            self.tags[id(node)] = tag
        return node


@dataclass
class _TreeReader:
    """Turns the nodes of PyYAML into ours, and collects their problems."""

    file: str
    booleans: Callable[[Steps], bool]
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    tags: dict[int, str] = field(default_factory=dict)
    visited: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    aliases: int = 0

    def read(self, characters: str) -> None:
        loader = _Loader(characters, self.file)
        try:
            composed = loader.get_node() if loader.check_node() else None
            if composed is None:
                self.refuse(Place(self.file), "is empty", "expected a mapping of keys to values")
                return
            if loader.check_node():
                line = loader.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
                what = "a second document starts here"
                self.refuse(Place(self.file, line), what, "expected one document in a file")
                return
            self.tags = loader.tags
        finally:
            loader.dispose()
        self.read_top(composed)

    def read_top(self, composed: yaml.Node) -> None:
        place = Place(self.file, composed.start_mark.line + 1)
        if isinstance(composed, yaml.MappingNode):
            self.root = self.tree(composed, place.line, ())
            return
        kind = "a list" if isinstance(composed, yaml.SequenceNode) else "a single value"
        empty = isinstance(composed, yaml.ScalarNode) and composed.tag == _TAG + "null"
        what = "is empty" if empty else f"is {kind}"
        self.refuse(place, what, "expected a mapping of keys to values")

    def refuse(self, place: Place, what: str, expected: str = "", remedy: str = "") -> None:
        self.problems.append(Problem(place, what, expected, remedy))

    def tree(self, node: yaml.Node, line: int, steps: Steps) -> Node:
        place = Place(self.file, line, path_text(steps))
        self.check_limits(node, place, steps)
        tag = self.tags.get(id(node))
        if tag is not None:
            what = f"the tag {quoted(tag.replace(_TAG, '!!'))} is not allowed"
            self.refuse(place, what, "expected a plain value", "remove the tag")
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return Node(place, self.entries(node, steps))
            if isinstance(node, yaml.SequenceNode):
                return Node(place, self.items(node, steps))
            if isinstance(node, yaml.ScalarNode) and tag is None:
                return Node(place, self.scalar(node, place, steps))
            return Node(place, node.value)
        finally:
            self.open.discard(id(node))

    def check_limits(self, node: yaml.Node, place: Place, steps: Steps) -> None:
        if id(node) in self.open:
            raise RecipeError.at(place, "an alias refers to a value that contains the alias itself")
        if id(node) in self.visited:
            self.aliases += 1
        self.visited.add(id(node))
        if self.aliases > MAX_ALIASES:
            raise RecipeError.at(place, f"too many aliases; expected at most {MAX_ALIASES}")
        if len(steps) > MAX_DEPTH:
            raise _too_deep(place)

    def items(self, node: yaml.SequenceNode, steps: Steps) -> tuple[Node, ...]:
        return tuple(
            self.tree(item, item.start_mark.line + 1, (*steps, index))
            for index, item in enumerate(node.value)
        )

    def entries(self, node: yaml.MappingNode, steps: Steps) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                place = Place(self.file, line, path_text(steps))
                self.refuse(place, "a key is a list or a mapping", "expected text")
                continue
            name = key.value
            place = Place(self.file, line, path_text((*steps, name)))
            if id(key) in self.tags:
                self.refuse(place, "a tag on a key is not allowed", "", "remove the tag")
            elif name in entries:
                first = f"it is already on line {entries[name].place.line}"
                self.refuse(place, f"duplicate key {quoted(name)}", first, "keep one of them")
            elif key.tag == _TAG + "merge":
                what = "the merge key '<<' is not allowed"
                self.refuse(place, what, "", "use 'extends' to inherit from a recipe")
            elif _is_surrogate(name):
                self.refuse(place, "the key is not valid Unicode text")
            else:
                entries[name] = self.tree(value, line, (*steps, name))
        return entries

    def scalar(self, node: yaml.ScalarNode, place: Place, steps: Steps) -> Scalar:
        text: str = node.value
        if _is_surrogate(text):
            self.refuse(place, "is not valid Unicode text")
            return text.encode("ascii", "backslashreplace").decode("ascii")
        if node.style is not None:
            return text
        if is_boolean_of_yaml_1_1(text) and not self.booleans(steps):
            return text
        value = plain_scalar(text, node.tag.removeprefix(_TAG))
        if isinstance(value, Ambiguous):
            self.refuse(place, f"{quoted(text)} {value.what}", "", value.remedy)
            return text
        return value


def _syntax_problem(error: Exception, file: str, characters: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        reasons = [reason for reason in (error.context, error.problem) if reason]
        place = Place(file, mark.line + 1 if mark else 0)
        unspaced = _key_without_space(characters, place)
        if unspaced is not None:
            return unspaced
        for words, what, remedy in _SYNTAX:
            if words in (error.problem or ""):
                return Problem(place, f"is not valid YAML: {what}", "", remedy)
        return Problem(place, "is not valid YAML: " + ", ".join(reasons))
    if not isinstance(error, ReaderError):
        return Problem(Place(file), "is not valid YAML: an escape or a number is out of range")
    place = Place(file, characters.count("\n", 0, error.position) + 1)
    return Problem(place, "a character is not allowed in YAML", "expected printable text")


def _key_without_space(characters: str, place: Place) -> Problem | None:
    """Return the problem of a line before `place` whose key has no space after its colon.

    To YAML it is text that continues on the next line.
    """
    lines = characters.splitlines()[: max(place.line - 1, 0)]
    match = _UNSPACED.fullmatch(lines[-1]) if lines else None
    if match is None:
        return None
    what, remedy = "a key has no space after its colon", f"write '{match[1]}: {match[2]}'"
    return Problem(Place(place.file, len(lines)), f"is not valid YAML: {what}", "", remedy)


def _too_deep(place: Place) -> RecipeError:
    return RecipeError.at(place, "is nested too deeply", f"expected at most {MAX_DEPTH} levels")


def _is_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _unusable(place: Place, what: str, expected: str = "", remedy: str = "") -> YamlText:
    return YamlText(None, (Problem(place, what, expected, remedy),))
