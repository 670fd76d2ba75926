"""
Drafts out of an API's own description (OpenAPI 3.0 and 3.1, as JSON or YAML).

The description is input like any other: read within limits, its values plain texts, no aliases,
nothing fetched. References lead only into the same document, and only so deep.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import yaml

from proxy.decode import Facts, decode
from proxy.errors import SluiceError, fail
from proxy.policy.asked import NO_FACTS, request
from proxy.policy.draft import RISKY, Draft, body_lines, consequences, field_names, kebab

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_LEVELS: Final = 100
MAX_NODES: Final = 4_000_000
MAX_OPERATIONS: Final = 20_000
_MAX_REFERENCES: Final = 8
_MAX_SAMPLE: Final = 2
_MAX_PROPERTIES: Final = (20, 6, 3)

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PARAMETER: Final = re.compile(r"\{[^{}]*\}")
_LOADER: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

type Plain = Mapping[str, "Plain"] | Sequence["Plain"] | str | int | float | bool | None
"""A value of the description; out of YAML every scalar is a text."""


# -- reading the description -------------------------------------------------------------


def parse(raw: bytes, name: str) -> Mapping[str, Plain]:
    """The description; SluiceError where it is none, or over a limit."""
    if len(raw) > MAX_BYTES:
        raise fail(f"'{name}' is over {MAX_BYTES} bytes", fix="draft from a part of it")
    try:
        text = raw.decode("utf-8-sig")
        found = json.loads(text) if text.lstrip()[:1] == "{" else _yaml(text)
    except RecursionError:
        raise fail(f"'{name}' is nested over {MAX_LEVELS} levels") from None
    except (ValueError, yaml.YAMLError) as error:
        raise fail(f"'{name}' is neither JSON nor YAML: {str(error).splitlines()[0][:200]}") from None
    if not isinstance(found, dict):
        raise fail(f"'{name}' is no OpenAPI description", fix="give a file that begins with: openapi: 3.1.0")
    version = str(found.get("openapi", ""))
    if not version.startswith("3."):
        given = f"version {version}" if version else "Swagger 2" if "swagger" in found else "no openapi line"
        raise fail(f"'{name}' is no OpenAPI 3 description: {given}", fix="convert it to OpenAPI 3 first")
    return found


def _yaml(text: str) -> Plain:
    """A document built from the parser's events: nothing is resolved, constructed or aliased."""
    events = yaml.parse(text, Loader=_LOADER)
    build = _Build(events)
    next(events)
    if isinstance(next(events), yaml.StreamEndEvent):
        return None
    return build.node(next(events), 1)


class _Build:
    """Plain values out of YAML events, within the limits."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._nodes = 0

    def node(self, event: Any, level: int) -> Plain:
        self._nodes += 1
        if level > MAX_LEVELS or self._nodes > MAX_NODES:
            raise ValueError(f"over {MAX_LEVELS} levels or {MAX_NODES} values")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"an alias (*{event.anchor}): write out what it stands for")
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            found: list[Plain] = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                found.append(self.node(event, level + 1))
            return found
        table: dict[str, Plain] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self.node(event, level + 1)
            table[key if isinstance(key, str) else ""] = self.node(next(self._events), level + 1)
        return table


# -- its operations ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A description and where its API is, if it does not say so itself."""

    spec: Mapping[str, Plain]
    server: str = ""
    facts: Facts = NO_FACTS

    def table(self, value: Plain, depth: int = 0) -> Mapping[str, Plain]:
        """A table, also through references; empty for anything else."""
        if not isinstance(value, dict):
            return {}
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return value
        if depth >= _MAX_REFERENCES or not reference.startswith("#/"):
            return {}
        at: Plain = self.spec
        for step in reference[2:].split("/"):
            at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
        return self.table(at, depth + 1)


def drafts(source: Source, operation: str = "") -> Iterator[Draft]:
    """
    A draft for each risky operation, or for the one that is named, whatever it does.

    Raises SluiceError where the API's address is not known, or there is no such operation.
    """
    found = 0
    for number, (method, path, item, one) in enumerate(_operations(source)):
        if number >= MAX_OPERATIONS:
            raise fail(
                f"the description has over {MAX_OPERATIONS} operations", fix="name one: --operation ID"
            )
        id = str(one.get("operationId") or f"{method} {path}")
        if operation and operation != id:
            continue
        draft = _draft(source, id, method, path, item, one)
        if draft is not None and (operation or not set(RISKY).isdisjoint(draft.consequences)):
            found += 1
            yield draft
    if operation and not found:
        raise fail(
            f"there is no operation '{operation}' that could be drafted",
            fix="name it by its operationId, or as in 'POST /v1/refunds'",
        )


def _operations(source: Source) -> Iterator[tuple[str, str, Mapping[str, Plain], Mapping[str, Plain]]]:
    for path, value in source.table(source.spec.get("paths")).items():
        item = source.table(value)
        for method in _METHODS:
            if isinstance(item.get(method), dict):
                yield method.upper(), path, item, source.table(item[method])


def _draft(
    source: Source, id: str, method: str, path: str, item: Mapping[str, Plain], one: Mapping[str, Plain]
) -> Draft | None:
    server = _server(source, one, item)
    if not path.startswith("/") or any(char in path for char in "?#"):
        return None
    kind, sample = _body(source, one)
    headers = [("content-type", _TYPES[kind])] if kind else []
    url = f"{server}{_address(path, '1')}"
    body = b"" if not kind else _encoded(kind, sample)
    try:
        asked = request(method, url, headers, body)
    except SluiceError:
        return None
    action = decode(asked, source.facts)
    keys = [key for key, value in sample.items() if not isinstance(value, dict | list)] if sample else []
    return Draft(
        name=kebab(id),
        sentence=str(one.get("summary") or id),
        asked=asked,
        host=action.host,
        path=f"{urlsplit(server).path}{_address(path, '*')}",
        consequences=consequences(action),
        shown=field_names(kind, keys) if kind else (),
        body=body_lines(kind, sample) if kind else (),
    )


def _address(path: str, value: str) -> str:
    """A path with a value for each parameter; escaped as requests are."""
    filled = re.sub(r"(?:\{[^{}]*\})+", "\0", path)
    return quote(filled, safe="/!$&'()+,;=:@-._~%\0").replace("\0", value).replace("%00", value)


def _server(source: Source, *places: Mapping[str, Plain]) -> str:
    """Where the API is, without the slash at the end; the nearest list of servers counts."""
    if source.server:
        return source.server.rstrip("/")
    for place in (*places, source.spec):
        servers = place.get("servers")
        for server in servers if isinstance(servers, list) else ():
            table = source.table(server)
            variables = source.table(table.get("variables"))
            url = _PARAMETER.sub(
                lambda found: str(source.table(variables.get(found[0][1:-1])).get("default", "")),  # noqa: B023
                str(table.get("url", "")),
            )
            if urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname:
                return url.rstrip("/")
    raise fail(
        "the description names no server", fix="say where the API is: --server https://api.example.com"
    )


# -- a body to try it on -----------------------------------------------------------------

_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


def _body(source: Source, one: Mapping[str, Plain]) -> tuple[str, dict[str, Plain]]:
    """Kind and content of a body as the description has it; empty where it has none that is understood."""
    content = source.table(source.table(one.get("requestBody")).get("content"))
    for kind, media_type in _TYPES.items():
        for name, value in content.items():
            plain = name.partition(";")[0].strip().lower()
            if plain == media_type or (kind == "json" and plain.endswith("+json")):
                sample = _sample(source, source.table(value).get("schema"), 0)
                return (kind, sample) if isinstance(sample, dict) else ("", {})
    return "", {}


def _sample(source: Source, value: Plain, depth: int) -> Plain:
    """A small value that the schema might be about; what is nested deeply is left out."""
    schema = source.table(value)
    if depth > _MAX_SAMPLE or not schema:
        return "x"
    for key in ("const", "example", "default"):
        if isinstance(schema.get(key), str | int | bool):
            return schema[key]
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and isinstance(choices[0], str | int):
        return choices[0]
    for key in ("oneOf", "anyOf"):
        several = schema.get(key)
        if isinstance(several, list) and several and "properties" not in schema:
            return _sample(source, several[0], depth + 1)
    if "properties" in schema or "allOf" in schema or schema.get("type") == "object":
        return _object(source, schema, depth)
    if schema.get("type") == "array":
        return [_sample(source, schema.get("items"), depth + 1)]
    return {"integer": 1, "number": 1, "boolean": True}.get(str(schema.get("type")), "x")


def _object(source: Source, schema: Mapping[str, Plain], depth: int) -> dict[str, Plain]:
    parts = schema.get("allOf")
    found: dict[str, Plain] = {}
    for part in parts if isinstance(parts, list) else ():
        inner = _sample(source, part, depth + 1)
        if isinstance(inner, dict):
            found.update(inner)
    for name, value in list(source.table(schema.get("properties")).items())[
        : _MAX_PROPERTIES[min(depth, _MAX_SAMPLE)]
    ]:
        if source.table(value).get("readOnly") not in (True, "true"):
            found[name] = _sample(source, value, depth + 1)
    return found


def _encoded(kind: str, sample: Mapping[str, Plain]) -> bytes:
    if kind == "json":
        return json.dumps(sample).encode()
    pairs = (f"{quote(name)}={quote(str(value))}" for name, value in sample.items())
    return "&".join(pairs).encode()
