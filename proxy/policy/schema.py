"""
A JSON Schema of policy files for editors, made of the tables that the loader uses.

It knows keys, words and shapes. What it cannot say (names unique over files, expressions that
cannot run away, hosts and paths in normal form) is for `sluice policy check`.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.policy import keys
from proxy.policy.cases import CASE, EXPECTED
from proxy.policy.fields import FIXED, OPEN, SCALARS
from proxy.policy.rule import Operator, Whose
from proxy.policy.verdict import Effect, Nobody, Tier

type Schema = dict[str, object]

_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": keys.MAX_TEXT}
_EFFECTS = [str(effect) for effect in Effect]


def schema() -> Schema:
    """The schema (draft 7, which editors speak) as JSON values."""
    properties: dict[str, Schema] = {
        "version": {"const": 1},
        "default": _table(keys.DEFAULT, {key: {"enum": _effects(key)} for key in keys.DEFAULT}),
        "rules": {"type": "array", "minItems": 1, "maxItems": keys.MAX_RULES, "items": _rule()},
        "cases": {"type": "array", "minItems": 1, "items": _case()},
        "retention": _table(
            keys.RETENTION,
            {"payloads": {"type": "string", "pattern": f"^{keys.DURATION}$"}},
            required=["payloads"],
        ),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Sluice policy",
        **_table(keys.FILE, properties, required=["version"]),
    }


def _effects(key: str) -> list[str]:
    return [word for word in _EFFECTS if not (key == "new_host" and word == "deny")]


def _table(described: keys.Keys, properties: Mapping[str, Schema], **more: object) -> Schema:
    told = {key: {"description": words, **properties[key]} for key, words in described.items()}
    return {"type": "object", "additionalProperties": False, "properties": told, **more}


def _one_or_more(one: Schema) -> Schema:
    return {"anyOf": [one, {"type": "array", "minItems": 1, "maxItems": keys.MAX_LIST, "items": one}]}


def _rule() -> Schema:
    match = _match()
    properties: dict[str, Schema] = {
        "name": {
            "type": "string",
            "pattern": f"^{keys.NAME}$",
            "maxLength": 100,
            "not": {"const": "default"},
        },
        "why": _TEXT,
        "match": match,
        "unless": {"type": "array", "minItems": 1, "maxItems": keys.MAX_LIST, "items": match},
        "then": {"enum": _EFFECTS},
        "risk": _table(
            keys.RISK, {"tier": {"enum": [str(tier) for tier in Tier]}, "reversible": {"type": "boolean"}}
        ),
        "says": _TEXT,
        "show": _one_or_more({"type": "string", "pattern": _field_pattern()}),
        "hold": _table(keys.HOLD, _hold()),
        "budget": _table(keys.BUDGET, _budget(), minProperties=1),
        "window": _duration_or_none(),
    }
    return _table(keys.RULE, properties, required=list(keys.RULE_REQUIRED))


def _case() -> Schema:
    properties: dict[str, Schema] = {
        "name": _TEXT,
        "request": _TEXT,
        "headers": {"type": "object"},
        "form": {"type": "object"},
        "json": {},
        "body": {"type": "string"},
        "body_base64": {"type": "string"},
        "expect": {"enum": list(EXPECTED)},
        "rule": {"type": "string", "pattern": f"^{keys.NAME}$"},
        "used": {"type": "number", "minimum": 0},
    }
    return _table(CASE, properties, required=["name", "request", "expect"])


def _hold() -> dict[str, Schema]:
    return {
        "reviewers": _one_or_more({"type": "string", "pattern": f"^{keys.GROUP}$"}),
        "approvals": {"type": "integer", "minimum": 1, "maximum": keys.MAX_APPROVALS},
        "timeout": {"type": "string", "pattern": f"^{keys.DURATION}$"},
        "always_ask": {"type": "boolean"},
        "denials": {"type": "integer", "minimum": 1, "maximum": keys.MAX_APPROVALS},
        "not": _one_or_more({"type": "string", "pattern": f"^{keys.GROUP}$"}),
        "rejoin": _duration_or_none(),
        "remember": _duration_or_none(),
        "wait": {"type": "string", "pattern": f"^{keys.DURATION}$"},
        "nobody": {"enum": [str(word) for word in Nobody]},
        "keepalive": {"enum": ["auto", "none", "100", "102", 100, 102]},
        "idempotency": {"type": "string", "pattern": f"^{keys.HEADER}$"},
    }


def _budget() -> dict[str, Schema]:
    field: Schema = {"type": "string", "pattern": _field_pattern()}
    return {
        "field": field,
        "unit": field,
        "limit": {"type": "number", "exclusiveMinimum": 0},
        "count": {"type": "integer", "minimum": 1, "maximum": keys.MAX_COUNT},
        "per": {"type": "string", "pattern": f"^{keys.DURATION}$"},
        "by": {"enum": [str(whose) for whose in Whose]},
        "over": {"enum": ["hold", "deny"]},
        **{word: {"type": "string", "pattern": keys.COUNT_WITHIN} for word in keys.COUNTED},
    }


def _duration_or_none() -> Schema:
    return {"anyOf": [{"type": "string", "pattern": f"^({keys.DURATION_OR_NONE})$"}, {"const": 0}]}


def _match() -> Schema:
    properties: dict[str, Schema] = {
        "host": _one_or_more({"type": "string", "minLength": 1}),
        "port": _one_or_more({"type": ["integer", "string"], "minimum": 1, "maximum": 65_535}),
        "scheme": _one_or_more({"enum": ["http", "https"]}),
        "method": _one_or_more({"type": "string", "pattern": f"^{keys.METHOD}$"}),
        "path": _one_or_more({"type": "string", "pattern": "^/"}),
        "where": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "patternProperties": {_field_pattern(): _operators()},
        },
    }
    return _table(keys.MATCH, properties, minProperties=1)


def _operators() -> Schema:
    number: Schema = {"type": "number"}
    text: Schema = {"type": "string", "minLength": 1}
    properties: dict[Operator, Schema] = {
        Operator.IS: _SCALAR,
        Operator.IN: _one_or_more(_SCALAR),
        Operator.LIKE: _one_or_more(_SCALAR),
        Operator.MATCHES: _one_or_more(text),
        Operator.ABOVE: number,
        Operator.BELOW: number,
        Operator.COUNT_ABOVE: {"type": "integer", "minimum": 0},
        Operator.EXISTS: {"type": "boolean"},
        Operator.OUTSIDE: _one_or_more(text),
    }
    described = {str(operator): words for operator, words in keys.OPERATORS.items()}
    return _table(described, {str(key): value for key, value in properties.items()}, minProperties=1)


def _field_pattern() -> str:
    """A regular expression (ECMA 262) for the names of fields."""
    fixed = [name.replace(".", "\\.") for name in (*SCALARS, *FIXED)]
    opened = [f"{root.replace('.', chr(92) + '.')}\\.[^.].*" for root in OPEN]
    return f"^({'|'.join([*fixed, *opened])})$"
