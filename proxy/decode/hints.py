"""
What a query or a body adds to what a path says: actions named in parameters, SQL, recipients, money, access.

A hint only ever makes a request graver: an agent writes the body, so nothing in it can excuse
what the path says. Names of fields are those that APIs use in general, in any spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import Final, NamedTuple

from proxy.action import ABSENT, Values
from proxy.decode import multipart
from proxy.decode.decoded import Body
from proxy.decode.http import Pairs
from proxy.decode.json import Tree
from proxy.decode.words.marks import ERASE, FEATHER, GRANT, NOUNS, PAY, SEND, TRIFLE
from proxy.decode.words.phrases import phrase

MAX_FIELDS: Final = 20_000
MAX_DEPTH: Final = 6
MAX_ELEMENTS: Final = 500
_MAX_NAME: Final = 60
_MAX_SQL: Final = 100_000


class Hint(NamedTuple):
    """A consequence, and what says so."""

    consequence: str
    why: str


class Naming(NamedTuple):
    """The name of an operation that a parameter carries, and the parameter."""

    name: str
    parameter: str


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Parameters that choose what is done, as in ``?action=delete`` or ``Action=CreateUser``.
_CHOOSING: Final = _names("action method operation command cmd op_name do act func function verb")
_NAMING: Final = ("soapaction", "x-amz-target")
_SQL: Final = _names("sql query statement querystring stmt sqltext commandtext")
_STATES: Final = _names("status state desiredstatus newstatus targetstatus transition event")
_ENDED: Final = {
    **dict.fromkeys(
        _names("deleted removed voided void cancelled canceled destroyed terminated trashed"), "delete"
    ),
    **dict.fromkeys(_names("sent sending"), "message"),
    **dict.fromkeys(_names("refunded captured paid"), "payment"),
    **dict.fromkeys(_names("revoked approved suspended banned blocked"), "permission"),
}
_TO: Final = _names(
    "to recipient recipients personalizations phonenumber toaddresses destination cc bcc tonumber"
)
_SAYING: Final = _names("subject body text html message content template templateid sms caption")
_MONEY: Final = _names("amount amountmoney")
_CURRENCY: Final = _names("currency currencycode")
_ACCESS: Final = _names(
    "role roles permission permissions privileges grants accesslevel accessrole isadmin admin acl private "
    "visibility publicaccess anyonecanview forward forwardto forwardingemail forwardingaddress redirectto "
    "webhookurl callbackurl notificationurl password newpassword"
)
# Below these stands what a model or a person reads, in which a role is a part in a conversation.
_CONVERSATION: Final = _names("messages contents input history conversation prompt turns")
_ERASING: Final = re.compile(
    r"(?:bulk|batch|to)?[_-]?(?:delete|remove|destroy|erase|purge|drop)s?(?=$|[A-Z_-])"
    r"|(?:Delete|Remove)s?(?=[A-Z_-]|$)"
)
_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z_.-]{2,59}")
_COMMENT: Final = re.compile(r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/|--[^\n]*")
_SQL_ERASES: Final = re.compile(r"\b(?:delete\s+from|drop\s+\w+|truncate\s+\w+)", re.IGNORECASE)
_SQL_GRANTS: Final = re.compile(
    r"\b(?:grant\s+\w+|revoke\s+\w+|(?:create|alter)\s+(?:user|role|login))\b", re.IGNORECASE
)
_AT_TOP: Final = _MONEY | _CURRENCY
_TOGETHER: Final = (_TO | _SAYING | _MONEY | _CURRENCY) - _SQL
_ALL: Final = _CHOOSING | _SQL | _STATES | _ACCESS | _TOGETHER
_LOUD: Final = ERASE | SEND | GRANT | PAY
_ELEMENT: Final = re.compile(rb"<(?:[A-Za-z][\w.-]{0,59}:)?([A-Za-z][A-Za-z_.-]{2,59})[\s/>]")
_KEY: Final = re.compile(rb'"([A-Za-z][A-Za-z_-]{1,59})"\s*:')
_YES: Final = _names("true all yes 1 on externalonly")


def in_headers(headers: Mapping[str, Values]) -> Iterator[Naming | Hint]:
    """
    What headers say: the operation that they name (SOAPAction, X-Amz-Target), access for everybody.
    """
    for name in _NAMING:
        for value in headers.get(name, ABSENT).items:
            yield from _chosen(
                name, (value or "").strip('"').replace("#", "/").rpartition("/")[2].rpartition(".")[2]
            )
    for name in headers:
        if name.endswith("-acl") and any("public" in (value or "public") for value in headers[name].items):
            yield Hint("permission", f"the header '{name[:_MAX_NAME]}' opens it to everybody")


def in_query(query: Pairs, *, bare: bool) -> Iterator[Naming | Hint]:
    """
    What the parameters of a query say.

    `bare`: a name without a value is what is acted on, as in ``PUT /bucket?policy``.
    """
    for steps, value in query:
        name = steps[-1].lower().replace("_", "")
        if name in _CHOOSING:
            yield from _chosen(name, value)
        elif bare and value == "" and len(steps) == 1:
            yield from _chosen(name, steps[0])
        elif value is not None and value.lower() in _YES and _sends(steps[-1]):
            yield Hint("message", f"the query says '{name[:_MAX_NAME]}'")


def _sends(name: str) -> bool:
    """Whether a switch is about telling people: ``sendUpdates``, ``notify_all``."""
    one = phrase(name[:_MAX_NAME])
    return bool(one.marks and one.marks[0] & SEND)


def _chosen(parameter: str, value: object) -> Iterator[Naming]:
    if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
        yield Naming(value, f"'{parameter}'")


def in_body(body: Body, chooses: frozenset[str] = frozenset()) -> Iterator[Naming | Hint]:
    """
    What the fields of a body say, as far as it was read; `chooses` are more parameters that name an action.
    """
    if body.is_json:
        yield from _in_tree(body, chooses)
    elif body.form is not None:
        yield from _in_pairs(body.form, chooses)
    elif body.parts is not None:
        yield from _in_pairs(multipart.values(body.parts), chooses)
    elif body.plain is not None and body.plain.lstrip()[:1] == b"<":
        yield from _in_markup(body.plain)


def _in_markup(plain: bytes) -> Iterator[Naming | Hint]:
    """Elements whose names say that something risky is done: ``<DeleteItem>`` of a SOAP body."""
    names: dict[bytes, None] = {}  # in their order, so that the same body is always told in the same words
    for found in _ELEMENT.finditer(plain):
        names[found[1]] = None
        if len(names) > MAX_ELEMENTS:
            yield Hint("delete", "the body has more kinds of elements than can be read for what it does")
            return
    for name in names:
        one = phrase(name.decode("ascii"))
        if one.marks and one.marks[0] & _LOUD and not one.marks[0] & NOUNS:
            yield Naming(name.decode("ascii"), "an element")


def _in_pairs(pairs: Pairs, chooses: frozenset[str]) -> Iterator[Naming | Hint]:
    fields = {steps[-1] or steps[0]: value for steps, value in pairs}
    yield from _in_fields(fields, _telling(fields, chooses))


def _in_tree(body: Body, chooses: frozenset[str]) -> Iterator[Naming | Hint]:
    telling = _telling(_keys(body), chooses)
    waiting: list[tuple[Tree, int]] = [(body.tree, 0)] if telling else []
    left = MAX_FIELDS
    at_top = _AT_TOP.issuperset(telling.values()) and len(body.plain or b"") <= MAX_FIELDS
    deepest = 0 if at_top else MAX_DEPTH  # so short a body has no more fields than can be read
    while waiting and left > 0:
        value, depth = waiting.pop()
        if isinstance(value, list):
            left -= len(value)
            waiting += [(item, depth) for item in value if isinstance(item, dict | list)]
        elif isinstance(value, dict):
            left -= len(value)
            if not telling.keys().isdisjoint(value):
                yield from _in_fields(value, telling, top=depth == 0)
            if depth < deepest:
                waiting += [
                    (item, depth + 1)
                    for key, item in value.items()
                    if isinstance(item, dict | list) and key not in _CONVERSATION
                ]
    if left <= 0:
        yield Hint("delete", "the body has more fields than can be read for what it does")


def _keys(body: Body) -> Iterable[str]:
    """The keys of a JSON body that could say something: those that are plain words."""
    if body.plain is not None and b"\\" not in body.plain:
        return {key.decode("ascii") for key in set(_KEY.findall(body.plain))}
    found: set[str] = set()
    waiting: list[Tree] = [body.tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found.update(value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _telling(keys: Iterable[str], chooses: frozenset[str]) -> dict[str, str]:
    """The keys that say something, each with its name in the one spelling that is looked for."""
    found = {}
    for key in keys:
        name, tells = _known_name(key) if len(key) <= _MAX_NAME else _name(key)
        if tells or name in chooses:
            found[key] = name
    names = set(found.values())
    if names <= _TOGETHER and not _are_together(names):
        return {}
    return found


def _name(key: str) -> tuple[str, bool]:
    """A key in the one spelling that is looked for, and whether it says something in any request."""
    name = key.lower().replace("_", "").replace("-", "")
    return name, name in _ALL or _ERASING.match(key) is not None


# APIs have few names, and each request has them again; others push one another out.
_known_name: Final = lru_cache(maxsize=4_096)(_name)


def _are_together(names: Set[str]) -> bool:
    return bool((names & _TO and names & _SAYING) or (names & _MONEY and names & _CURRENCY))


def _in_fields(
    fields: Mapping[str, object], telling: Mapping[str, str], *, top: bool = True
) -> Iterator[Naming | Hint]:
    """What the fields of one object say, together; an amount only at the `top`: below it is a price."""
    names: set[str] = set()
    for key, value in fields.items():
        name = telling.get(key)
        if name is None:
            continue
        names.add(name)
        if name not in _TOGETHER:
            yield from _in_field(key, name, value)
    if names & _TO and names & _SAYING:
        yield Hint("message", "the body has recipients")
    if top and names & _MONEY and names & _CURRENCY:
        yield Hint("payment", "the body has an amount of money")


def _in_field(key: str, name: str, value: object) -> Iterator[Naming | Hint]:
    """What one field says on its own."""
    if name in _SQL:
        yield from _sql(value)
    elif name in _ACCESS:
        yield Hint("permission", f"the body sets '{name}'")
    elif name in _STATES:
        if isinstance(value, str) and (said := _ENDED.get(value.lower())):
            yield Hint(said, f"the body says '{value.lower()}'")
    elif isinstance(value, str):
        yield from _chosen(name, value)
    elif isinstance(value, dict | list) and value and _ERASING.match(key) and not _of_trifles(key):
        yield Hint("delete", f"the body says '{key[:_MAX_NAME]}'")


def _of_trifles(key: str) -> bool:
    return bool(phrase(key[:_MAX_NAME]).marks[-1] & (FEATHER | TRIFLE))


def _sql(statement: object) -> Iterator[Hint]:
    if not isinstance(statement, str):
        return
    if len(statement) > _MAX_SQL:
        yield Hint("delete", "the SQL is too long to be read")
        return
    text = _COMMENT.sub(" ", statement)
    if found := _SQL_ERASES.search(text):
        yield Hint("delete", f"the SQL says '{found[0].split()[0].upper()}'")
    if found := _SQL_GRANTS.search(text):
        yield Hint("permission", f"the SQL says '{found[0].split()[0].upper()}'")
