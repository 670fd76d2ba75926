"""
The keys that a policy file may have, each with what it means.

The loader knows a key by its being here, and the editors' schema is made of the same tables.
"""

from __future__ import annotations

from typing import Final

from proxy.action import Field
from proxy.policy.fields import CONSEQUENCES
from proxy.policy.rule import Operator

type Keys = dict[str, str]

FILE: Final[Keys] = {
    "version": "Always 1.",
    "default": "What happens where no rule applies for certain; in one file at most. Absent: hold all.",
    "rules": "The rules; their order means nothing.",
    "retention": "How long what was asked is kept; in one file at most. Absent: for ever.",
    "cases": "Cases of these rules, as in a file *_cases.yaml beside this one.",
}
DEFAULT: Final[Keys] = {
    **{word: f"The effect for what is a {word}." for word in CONSEQUENCES},
    "new_host": "The effect for a host that no rule names, at an agent's first use.",
}
RETENTION: Final[Keys] = {
    "payloads": "What lies beside the ledger's entries is erased once it is older, as 30d; the entries stay.",
}
RULE: Final[Keys] = {
    "name": "Unique over all files, in kebab-case.",
    "why": "One sentence that the reviewer and the agent read.",
    "match": "Lines that must all hold.",
    "unless": "A list of matches; where one of them holds, the rule does not apply.",
    "then": "The effect: allow, watch, hold or deny.",
    "risk": "How bad it would be.",
    "says": "What will happen, in plain words, with {fields}; [a part] goes where its field is absent.",
    "show": "The fields that the reviewer sees.",
    "hold": "Who may release it, and how long it waits.",
    "budget": "How much it lets through by itself, of what, within how long.",
    "window": "With watch: it can be stopped for so long, as in 30s, and then proceeds; 0 only tells.",
}
RULE_REQUIRED: Final = ("name", "why", "match", "then")
MATCH: Final[Keys] = {
    "host": "Exact, or *.example.com (any depth below, not itself).",
    "port": "A port. Without it: any, and 443 where the rule allows.",
    "scheme": "http or https. Without it: any, and https where the rule allows.",
    "method": "The request's method, in upper case.",
    "path": "A path: * is one segment, ** any number of them.",
    "where": "Fields and what they are compared with.",
}
MATCH_OPERATORS: Final[dict[str, tuple[Field, Operator]]] = {
    "host": (("host",), Operator.LIKE),
    "port": (("port",), Operator.IN),
    "scheme": (("scheme",), Operator.IN),
    "method": (("method",), Operator.IN),
    "path": (("path",), Operator.LIKE),
}
OPERATORS: Final[dict[Operator, str]] = {
    Operator.IS: "Exactly this; an unquoted number compares by value.",
    Operator.IN: "One of these.",
    Operator.LIKE: "A pattern in which * is any text (as in host and path for these two).",
    Operator.MATCHES: "A regular expression (RE2) that matches the whole value.",
    Operator.ABOVE: "A number above this.",
    Operator.BELOW: "A number below this.",
    Operator.COUNT_ABOVE: "More values than this.",
    Operator.EXISTS: "Whether the field is there.",
    Operator.OUTSIDE: "Addresses or hosts that are not listed here and not in or below a listed domain.",
}
RISK: Final[Keys] = {
    "tier": "low, medium, high or critical.",
    "reversible": "Whether it can be undone.",
}
HOLD: Final[Keys] = {
    "reviewers": "The groups whose people may release it.",
    "approvals": "How many different people must say yes.",
    "timeout": "How long it waits, as in 10m; then it is refused.",
    "always_ask": "Never covered by a grant.",
    "denials": "How many different people must say no until it is denied.",
    "not": "Who may not approve it: agent-owner (the account that runs the agent), or groups.",
    "rejoin": "How long an agent that has gone may come back with the same request.",
    "remember": "How long a denial answers every same request, and an approval can be spent.",
    "wait": "After so long the agent is told to ask again, and it may be approved meanwhile.",
    "nobody": "hold, or refuse at once where nobody is there to decide.",
    "keepalive": "The interim response that keeps the client waiting: auto, none, 100 or 102.",
    "idempotency": "A header that gets a key derived from the hold, where the agent sent none.",
}
EVERY: Final = "requests"
COUNTED: Final[dict[str, str]] = {
    EVERY: "",
    **{f"{word}s": word for word in CONSEQUENCES},
}
"""What a budget may count, and the consequence that each is the plural of."""
BUDGET: Final[Keys] = {
    "field": "The field whose values are added up.",
    "unit": "The field that names their unit, as form.currency; each unit has an account of its own.",
    "limit": "How much may be released within that time, in the field's own units.",
    "count": "How many requests may be released within that time, instead of field and limit.",
    "per": "Within how long, as in 24h; at most 31d.",
    "by": "Who has an account: each agent, each credential, or all together (rule, unless said).",
    "over": "What happens to more: hold (unless said) or deny.",
    **{word: f"How many {word} within how long, as in 20 per 1h." for word in COUNTED},
}

MAX_RULES: Final = 20_000
MAX_LIST: Final = 1_000
MAX_TEXT: Final = 1_000
MAX_APPROVALS: Final = 16
MAX_WAIT: Final = 3600
MIN_KEPT: Final = 3600
"""Seconds that payloads are kept at least: people still read them."""
MAX_KEPT: Final = 36_500 * 86_400
MAX_COUNT: Final = 1_000_000
MAX_TIMEOUT: Final = 7 * 24 * 3600
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

NAME: Final = r"[a-z0-9]+(-[a-z0-9]+)*"
GROUP: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
METHOD: Final = r"[A-Z][A-Z0-9_-]{0,31}"
DURATION: Final = r"[1-9][0-9]{0,8}[smhd]"
DURATION_OR_NONE: Final = r"0[smhd]?|[1-9][0-9]{0,8}[smhd]"
COUNT_WITHIN: Final = r"^[1-9][0-9]{0,8} +per +[1-9][0-9]{0,8}[smhd]$"
HEADER: Final = r"[A-Za-z][A-Za-z0-9-]{0,63}"
