"""
The sentence that tells a reviewer what will happen: text with blanks, filled in from the request.

    {form.amount}                           a field
    {form.charge|form.payment_intent}       the first of these that is there
    {form.amount|'all'}                     a word of our own, where none is
    {minor(form.amount, form.currency)}     an amount in minor units: 9000, eur is 90.00 EUR
    [ of charge {form.charge}]              left out whole where a blank in it is absent
    {{ }} [[ ]]                             the braces and brackets themselves

What the agent wrote loses its secrets, is cut to a length that leaves the sentence readable,
and cannot fake the marks ``‹unknown›`` and ``‹none›``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from proxy.action import Field, Reading, Values
from proxy.policy.fields import parse, spell
from proxy.policy.money import in_major_unit
from proxy.redact import redact_value

MAX_VALUE: Final = 200
MAX_SHOWN: Final = 10
MAX_LOOKED_AT: Final = 4_096

UNKNOWN_MARK: Final = "‹unknown›"
NONE_MARK: Final = "‹none›"

_PIECE: Final = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{([^{}]*)\}|[{}\[\]]|[^{}\[\]]+")
_MINOR: Final = re.compile(r"minor\(([^(),]*),([^(),]*)\)")
_CALL: Final = re.compile(r"(\w+)\(.*\)")
_MARKS: Final = str.maketrans("‹›", "<>")
_BODIES: Final = ("json", "form", "multipart")


@dataclass(frozen=True, slots=True)
class Minor:
    """An amount in the minor unit of a currency."""

    amount: Field
    currency: Field


type Choice = Field | Minor | str
"""What may stand in a blank; a str is a word of our own."""


@dataclass(frozen=True, slots=True)
class Blank:
    """The first of its choices that is there."""

    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Bracket:
    """Left out whole where a blank in it is absent."""

    parts: tuple[str | Blank, ...]


type Template = tuple[str | Blank | Bracket, ...]
"""A sentence with blanks in it."""

type Read = Callable[[Field], Reading]


class TemplateError(ValueError):
    """A sentence that cannot be meant; `fix` says what to write instead."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.fix = fix


# -- reading a sentence -----------------------------------------------------------------


def compile_sentence(text: str) -> Template:
    """The parts of a sentence; raises TemplateError, or UnknownFieldError for a field that is none."""
    outside: list[str | Blank | Bracket] = []
    inside: list[str | Blank] | None = None
    for found in _PIECE.finditer(text):
        piece = found[0]
        if piece == "[":
            if inside is not None:
                raise TemplateError(
                    "a bracket in a bracket", "close the first one before; write [[ for a bracket"
                )
            inside = []
        elif piece == "]":
            outside.append(_bracket(inside))
            inside = None
        else:
            (outside if inside is None else inside).append(_plain_part(piece, found[1]))
    if inside is not None:
        raise TemplateError("a lonely '['", "close it with ]; write [[ for a bracket")
    return tuple(outside)


def _bracket(parts: list[str | Blank] | None) -> Bracket:
    if parts is None:
        raise TemplateError("a lonely ']'", "write ]] for a bracket")
    if not any(isinstance(part, Blank) for part in parts):
        raise TemplateError(
            "a bracket without a field", "what stands in brackets may be left out; write [[ for a bracket"
        )
    return Bracket(tuple(parts))


def _plain_part(piece: str, blank: str | None) -> str | Blank:
    if blank is not None:
        return Blank(tuple(_choice(one.strip()) for one in blank.split("|")))
    if piece in ("{", "}"):
        raise TemplateError(f"a lonely '{piece}'", "a field stands in {braces}; write {{ for a brace")
    return piece[0] if piece in ("{{", "}}", "[[", "]]") else piece


def _choice(text: str) -> Choice:
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    if found := _MINOR.fullmatch(text):
        return Minor(parse(found[1].strip()), parse(found[2].strip()))
    if found := _CALL.fullmatch(text):
        raise TemplateError(f"'{text}'", "write minor(AMOUNT, CURRENCY), the two being fields")
    if not text:
        raise TemplateError("an empty blank", "name a field in {braces}")
    return parse(text)


def fields_of(template: Template) -> list[Field]:
    """The fields in a sentence."""
    return [field for blank in _blanks(template) for choice in blank.choices for field in _fields(choice)]


def _blanks(template: Template) -> Iterator[Blank]:
    for part in template:
        match part:
            case Blank():
                yield part
            case Bracket():
                yield from _blanks(part.parts)


def _fields(choice: Choice) -> tuple[Field, ...]:
    match choice:
        case str():
            return ()
        case Minor():
            return (choice.amount, choice.currency)
        case _:
            return (choice,)


def spelled(template: Template) -> str:
    """The sentence as it is written."""
    return "".join(map(_spelled, template))


def _spelled(part: str | Blank | Bracket) -> str:
    match part:
        case str():
            return re.sub(r"[{}\[\]]", lambda found: found[0] * 2, part)
        case Bracket():
            return f"[{spelled(part.parts)}]"
        case Blank():
            return f"{{{'|'.join(map(_choice_spelled, part.choices))}}}"


def _choice_spelled(choice: Choice) -> str:
    match choice:
        case str():
            return f"'{choice}'"
        case Minor():
            return f"minor({spell(choice.amount)}, {spell(choice.currency)})"
        case _:
            return spell(choice)


# -- filling it in ----------------------------------------------------------------------


def fill(template: Template, read: Read) -> str:
    """The sentence about one action."""
    return "".join(_filled(part, read) for part in template)


def _filled(part: str | Blank | Bracket, read: Read) -> str:
    match part:
        case str():
            return part
        case Blank():
            found = _blank(part, read)
            return NONE_MARK if found is None else found
        case Bracket():
            inside = [_blank(one, read) if isinstance(one, Blank) else one for one in part.parts]
            return "" if None in inside else "".join(one for one in inside if one is not None)


def _blank(blank: Blank, read: Read) -> str | None:
    """The first choice that is there, None where none is; what might be there is unknown."""
    readings = [None if isinstance(choice, str) else read(_asked(choice)) for choice in blank.choices]
    body_read = any(
        isinstance(reading, Values) and _in_body(choice)
        for choice, reading in zip(blank.choices, readings, strict=True)
    )
    for choice, reading in zip(blank.choices, readings, strict=True):
        if isinstance(choice, str):
            return choice
        if isinstance(reading, Values):
            if reading.items:
                return (
                    _money(reading, choice, read) if isinstance(choice, Minor) else in_words(reading, choice)
                )
        elif not (body_read and _in_body(choice)):
            return UNKNOWN_MARK
    return None


def _asked(choice: Field | Minor) -> Field:
    return choice.amount if isinstance(choice, Minor) else choice


def _in_body(choice: Choice) -> bool:
    """A body has one format: where it was read in one, there is nothing in the others."""
    return not isinstance(choice, str) and _asked(choice)[0] in _BODIES


def _money(amount: Values, choice: Minor, read: Read) -> str:
    """An amount in its major unit; where that cannot be told, as it stands, with its unit said."""
    currency = read(choice.currency)
    codes = currency.items if isinstance(currency, Values) else (None,)
    if len(codes) == 1 and codes[0] is not None:
        sums = [in_major_unit(one or "", codes[0]) for one in amount.items[: MAX_SHOWN + 1]]
        if None not in sums and len(sums) <= MAX_SHOWN:
            return ", ".join(one for one in sums if one is not None)
    named = f" {in_words(currency, choice.currency)}" if codes else ""
    return f"{in_words(amount, choice.amount)}{named} (in minor units)"


def in_words(reading: Reading, field: Field) -> str:
    """The values of a field for people, in the order in which they stand."""
    if not isinstance(reading, Values):
        return UNKNOWN_MARK
    if not reading.items:
        return NONE_MARK
    words = ", ".join(_word(value, field) for value in reading.items[:MAX_SHOWN])
    more = len(reading.items) - MAX_SHOWN
    return f"{words} ‹and {more} more›" if more > 0 else words


def _word(value: str | None, field: Field) -> str:
    if value is None:
        return UNKNOWN_MARK
    plain = redact_value(value[:MAX_LOOKED_AT].translate(_MARKS), field)
    return plain if len(plain) <= MAX_VALUE else f"{plain[:MAX_VALUE]}‹cut›"
