"""Checks a YAML tree against a JSON schema, in plain words; imports jsonschema when called."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.errors import Problem, nearest, one_of, quoted, suggestion
from partition_core.recipe.yaml_tree import Node

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

SCHEMAS = Path(__file__).parent.parent / "schema"
RECIPE_SCHEMA = "recipe.schema.json"
POLICY_SCHEMA = "policy.schema.json"
OPERATOR_SCHEMA = "operators.schema.json"

Schema = Mapping[str, Any]
_NUMBER = re.compile(r"[-+]?[0-9]+([.][0-9]+)?")
_EXPECTED_TYPES = {
    "object": "expected a mapping of keys to values",
    "array": "expected a list",
    "string": "expected text",
    "boolean": "expected true or false",
    "integer": "expected a whole number",
    "number": "expected a number",
}


def schema_problems(root: Node, schema: str) -> list[Problem]:
    """Return the problems that the schema file `schema` finds in a tree, without duplicates."""
    problems: dict[Problem, None] = {}
    for error in _validator(schema).iter_errors(root.plain()):
        node = root.get(*error.absolute_path) or root
        problems.update(dict.fromkeys(_problems(error, node)))
    return list(problems)


@functools.cache
def _validator(schema: str) -> Validator:
    import jsonschema
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    types = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft202012Validator, {"pattern": _matches_whole}, type_checker=types
    )
    names = (RECIPE_SCHEMA, POLICY_SCHEMA, OPERATOR_SCHEMA)
    resources = [
        (str(_schema(name)["$id"]), DRAFT202012.create_resource(_schema(name))) for name in names
    ]
    registry: Any = Registry().with_resources(resources)
    validator: Validator = strict(_schema(schema), registry=registry)
    return validator


@functools.cache
def _schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


def _matches_whole(_: object, pattern: str, value: object, __: object) -> Iterator[ValidationError]:
    # Python's `$` also matches before a newline at the end; that of JSON schemas does not.
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        from jsonschema import ValidationError

        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _problems(error: ValidationError, node: Node) -> Iterator[Problem]:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if "propertyNames" in error.absolute_schema_path:
        key = str(error.instance)
        place = node.entries[key].place if key in node.entries else node.place
        yield Problem(place, f"the key {quoted(key)} is not allowed here", _expected(schema))
        return
    yield from _TRANSLATIONS.get(str(error.validator), _mismatch)(node, schema)


def _wrong_type(node: Node, schema: Schema) -> Iterator[Problem]:
    remedy = ""
    if schema["type"] == "string" and isinstance(node.value, bool | int | float):
        remedy = "put it in quotes"
    if schema["type"] == "array" and isinstance(node.value, str):
        remedy = "put it in [ ]"
    if schema["type"] == "object" and node.items and len(schema.get("required", ())) == 1:
        remedy = f"write it as {{{schema['required'][0]}: […]}}"
    if schema["type"] in ("integer", "number") and _NUMBER.fullmatch(node.text or ""):
        remedy = "write it without quotes"
    yield Problem(node.place, _described(node), _EXPECTED_TYPES[schema["type"]], remedy)


def _unknown_keys(node: Node, schema: Schema) -> Iterator[Problem]:
    known = [key for key, value in schema["properties"].items() if "not" not in value]
    for key in _unknown(node, schema):
        name, colon, value = key.partition(":")
        remedy = suggestion(key, known)
        if colon and name in known and node.entries[key].value is None:
            remedy = f"put a space after the colon: '{name}: {value}'"
        what = f"unknown key {quoted(key)}"
        yield Problem(node.entries[key].place, what, one_of(known), remedy)


def _missing_keys(node: Node, schema: Schema) -> Iterator[Problem]:
    for key in schema["required"]:
        if key not in node.entries and key not in _meant(node, schema):
            expected = _expected(_resolved(schema["properties"][key]))
            yield Problem(node.place, f"the key '{key}' is missing", expected)


def _missing_companions(node: Node, schema: Schema) -> Iterator[Problem]:
    for key, companions in schema["dependentRequired"].items():
        for companion in companions if key in node.entries else ():
            if companion not in node.entries and companion not in _meant(node, schema):
                what = f"the key '{key}' needs the key '{companion}' beside it"
                expected = _expected(schema["properties"][companion])
                yield Problem(node.entries[key].place, what, expected)


def _not_exactly_one(node: Node, schema: Schema) -> Iterator[Problem]:
    if not isinstance(node.value, Mapping):
        return
    alternatives = [key for branch in schema["oneOf"] for key in branch["required"]]
    names = ", ".join(f"'{key}'" for key in alternatives)
    present = [key for key in alternatives if key in node.entries]
    if len(present) > 1:
        what = "the keys " + " and ".join(f"'{key}'" for key in present) + " exclude each other"
        remedy = f"remove one, or write '{present[0]}: null' to remove an inherited one"
        last = node.entries[present[-1]].place
        yield Problem(last, what, f"expected exactly one of {names}", remedy)
    elif not present and not _meant(node, schema) & {
        *alternatives,
        *schema.get("dependentRequired", {}),
    }:
        what = f"has none of the keys {names}"
        yield Problem(node.place, what, "expected exactly one of them")


def _not_one_of(node: Node, schema: Schema) -> Iterator[Problem]:
    words = [str(value).lower() if isinstance(value, bool) else value for value in schema["enum"]]
    if len(words) == 1:
        yield Problem(node.place, _described(node), f"expected {words[0]}")
        return
    remedy = suggestion(node.text, words) if node.text else ""
    yield Problem(node.place, _described(node), one_of(words), remedy)


def _too_long(node: Node, schema: Schema) -> Iterator[Problem]:
    what = f"has {len(node.text or '')} characters"
    yield Problem(node.place, what, f"expected at most {schema['maxLength']}")


def _mismatch(node: Node, schema: Schema) -> Iterator[Problem]:
    yield Problem(node.place, _described(node), _expected(schema))


def _empty(node: Node, schema: Schema) -> Iterator[Problem]:
    what = "has only one item" if node.items else "is empty"
    yield Problem(node.place, what, _expected(schema))


def _out_of_place(node: Node, schema: Schema) -> Iterator[Problem]:
    # A key of other recipes: `not: {}` refuses every value, and the title says why.
    yield Problem(node.place, "has no meaning here", schema["title"], "remove it")


_TRANSLATIONS: dict[str, Callable[[Node, Schema], Iterator[Problem]]] = {
    "type": _wrong_type,
    "additionalProperties": _unknown_keys,
    "required": _missing_keys,
    "dependentRequired": _missing_companions,
    "oneOf": _not_exactly_one,
    "enum": _not_one_of,
    "maxLength": _too_long,
    "minItems": _empty,
    "minProperties": _empty,
    "not": _out_of_place,
}


def _described(node: Node) -> str:
    value = node.value
    if value is None:
        return "is empty"
    if isinstance(value, Mapping):
        return "is a mapping"
    if isinstance(value, tuple):
        return "is a list"
    if isinstance(value, bool):
        return f"is {str(value).lower()}"
    return f"is the number {value}" if isinstance(value, int | float) else f"is {quoted(value)}"


def _expected(schema: Schema) -> str:
    return f"expected {schema['title']}" if "title" in schema else ""


def _resolved(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    resolved: Schema = _schema(RECIPE_SCHEMA)["$defs"][reference.rpartition("/")[2]]
    return resolved


def _unknown(node: Node, schema: Schema) -> list[str]:
    return [key for key in node.entries if key not in schema.get("properties", {})]


def _meant(node: Node, schema: Schema) -> set[str]:
    """Return the known keys that unknown keys look like, so that they do not count as missing."""
    known = schema.get("properties", {})
    return {near for key in _unknown(node, schema) if (near := nearest(key, known))}
