"""
How far a request reaches: recipients, records, amounts, counted from what it says.

Names that APIs use for such things are looked for in the body, whatever the API: a count is a
lower bound, and where a format tells more, it is asked first. Amounts are texts as they stand,
never floats: Stripe's are in the currency's smallest unit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
from xml.parsers import expat

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Values
from proxy.decode import multipart
from proxy.decode.decoded import Body, Decoded, Head
from proxy.decode.http import Pairs
from proxy.decode.json import Tree

MAX_XML: Final = 1024 * 1024
MAX_XML_DEPTH: Final = 20

RECIPIENTS: Final = frozenset(
    {
        "to", "cc", "bcc", "recipients", "recipient", "to_emails", "emails", "phone_numbers", "phonenumbers",
        "to_numbers", "user_ids", "userids", "include_player_ids", "include_subscription_ids",
        "registration_ids", "tokens", "subscribers", "contacts", "addresses",
    }
)  # fmt: skip
_RECORDS: Final = frozenset(
    {
        "ids", "keys", "objects", "items", "records", "entries", "rows", "documents", "resources", "inputs",
        "members", "users", "files", "messages", "messageids", "message_ids", "threadids", "instanceids",
        "names", "requestitems", "deletes", "operations", "targets", "identifiers",
    }
)  # fmt: skip
_AMOUNTS: Final = frozenset(
    {
        "amount", "total", "total_amount", "totalamount", "transaction_amount", "transactionamount",
        "unit_amount", "amount_money", "amountmoney", "instructedamount", "instructed_amount", "sourceamount",
        "targetamount", "payment_amount", "paymentamount", "refund_amount", "refundamount", "price",
    }
)  # fmt: skip
_CURRENCIES: Final = frozenset({"currency", "currency_code", "currencycode", "currencyid", "ccy"})
_PARTS: Final = ("value", "amount", "quantity")
_NUMBERED: Final = re.compile(r"([A-Za-z][A-Za-z0-9.]{0,100}?)(?:\.member|\.entry)?\.(\d{1,5})(?:\..*)?")


def document(head: Head, body: Body, decoded: Sequence[Decoded]) -> Document:
    """Reads ``blast.A``; counted when it is asked for."""

    def read(name: Field) -> Reading:
        match name:
            case ("recipients",):
                return _recipients(body, decoded)
            case ("records",):
                return _records(head, body, decoded)
            case ("amount",):
                return _amounts(body)[0]
            case ("currency",):
                return _amounts(body)[1]
            case _:
                return UNKNOWN

    return read


def _count(number: int) -> Values:
    return Values((str(number),))


def _recipients(body: Body, decoded: Sequence[Decoded]) -> Reading:
    for one in decoded:
        if (mail := one.documents.get("email")) is not None:
            found = mail(("to",))
            if not isinstance(found, Values):
                return UNKNOWN
            return Values((None,)) if None in found.items else _count(len(found.items))
    if (told := unread(body)) is not None:
        return told
    found_in = [value for key, value in walk(body) if key in RECIPIENTS]
    return _count(sum(map(_size, found_in))) if found_in else ABSENT


def _records(head: Head, body: Body, decoded: Sequence[Decoded]) -> Reading:
    counted = [one.records for one in decoded if one.records is not None]
    if counted:
        return _count(max(counted))
    if head.kind.endswith("xml") and body.plain is not None:
        return _xml_records(body.plain)
    if (told := unread(body)) is not None:
        return told
    if body.is_json:
        sizes = [
            _size(value) for key, value in walk(body) if key in _RECORDS and isinstance(value, list | dict)
        ]
    else:
        sizes = [
            *Counter(key for key, _ in walk(body) if key in _RECORDS).values(),
            *_numbered(body.form or []),
        ]
    if isinstance(body.tree, list):
        sizes.append(len(body.tree))
    return _count(max(sizes)) if sizes else ABSENT


def unread(body: Body) -> Reading | None:
    """What is known without looking: nothing of an unread or opaque body; None to go on."""
    if body.empty:
        return ABSENT
    return None if body.is_json or body.form is not None or body.parts is not None else UNKNOWN


def walk(body: Body) -> Iterator[tuple[str, Tree]]:
    """Every key, in lower case, with its value; of a form's name only the first step."""
    if not body.is_json:
        pairs = body.form if body.form is not None else multipart.values(body.parts or ())
        for steps, text in pairs:
            yield steps[0].lower(), text
        return
    waiting: list[Tree] = [body.tree]  # no more than JSON's own limits let in
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += [one for one in value if isinstance(one, dict | list)]
        elif isinstance(value, dict):
            for key, below in value.items():
                yield key.lower(), below
                if isinstance(below, dict | list):
                    waiting.append(below)


def _size(value: Tree) -> int:
    """How many things a value names: the items of a list (or of lists by name), the addresses in a text."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, dict):
        lists = [one for one in value.values() if isinstance(one, list)]
        return sum(map(len, lists)) if lists else len(value)
    return value.count(",") + 1 if isinstance(value, str) and "@" in value else int(value is not None)


def _numbered(form: Pairs) -> list[int]:
    """The lists of AWS's query protocol: ``InstanceId.1``, ``Entries.member.2.Id``."""
    numbers: dict[str, set[str]] = {}
    for steps, _ in form:
        if found := _NUMBERED.fullmatch(steps[0]):
            numbers.setdefault(found[1], set()).add(found[2])
    return [len(one) for one in numbers.values()]


def _xml_records(plain: bytes) -> Reading:
    """The objects in S3's list of what to delete; unknown for XML that declares a type of its own."""
    if len(plain) > MAX_XML:
        return UNKNOWN
    depth = count = 0
    root = ""

    def refused(*_: object) -> None:
        raise ValueError("a document type, or too deep")

    def opened(name: str, _: dict[str, str]) -> None:
        nonlocal depth, count, root
        depth += 1
        if depth > MAX_XML_DEPTH:
            refused()
        root = root or name.rpartition(":")[2]
        count += depth == 2 and name.rpartition(":")[2] == "Object"

    def closed(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.StartDoctypeDeclHandler = refused
    try:
        parser.Parse(plain, True)
    except (expat.ExpatError, ValueError):
        return UNKNOWN
    return _count(count) if root == "Delete" else ABSENT


# -- amounts -----------------------------------------------------------------------------------


def is_amount(name: Field) -> bool:
    """Whether a field's name is one that APIs use for an amount, or for an amount's own part."""
    steps = [step.lower() for step in name if not step.isdigit()]
    return steps[-1] in _AMOUNTS or (len(steps) > 1 and steps[-1] in _PARTS and steps[-2] in _AMOUNTS)


def _amounts(body: Body) -> tuple[Reading, Reading]:
    """Every amount and every currency that the body names, in its order."""
    if (told := unread(body)) is not None:
        return told, told
    amounts: list[str | None] = []
    currencies: list[str | None] = []
    for key, text in _pairs(body):
        if key in _CURRENCIES:
            currencies.append(text)
        elif key in _AMOUNTS:
            amounts.append(text)
    return Values(tuple(amounts)), Values(tuple(dict.fromkeys(currencies)))


def _pairs(body: Body) -> Iterator[tuple[str, str | None]]:
    """Every scalar by the key that names it: an amount's own parts go by the amount's name."""
    if not body.is_json:
        pairs = body.form if body.form is not None else multipart.values(body.parts or ())
        for steps, text in pairs:
            names = [step.lower() for step in steps if step and not step.isdigit()]
            part = len(names) > 1 and names[-1] in _PARTS and names[-2] in _AMOUNTS
            yield names[-2] if part else names[-1] if names else "", text
        return
    for key, value in walk(body):
        if isinstance(value, dict):
            if key in _AMOUNTS:
                yield from ((key, _text(one)) for name, one in value.items() if name.lower() in _PARTS[::2])
        elif not isinstance(value, list):
            yield key, _text(value)


def _text(value: Tree) -> str | None:
    return value if isinstance(value, str) else None
