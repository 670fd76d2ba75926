"""
The sentence that tells a reviewer what will happen: text with fields in it.

``{form.amount}`` is filled in from the request, ``{{`` and ``}}`` are braces. What the agent
wrote loses its secrets, is cut to a length that leaves the sentence readable, and cannot fake
the marks ``‹unknown›`` and ``‹none›``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from proxy.action import Field, Reading, Values
from proxy.policy.fields import parse
from proxy.policy.rule import Template
from proxy.redact import redact_value

MAX_VALUE: Final = 200
MAX_SHOWN: Final = 10
MAX_LOOKED_AT: Final = 4_096

_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_MARKS: Final = str.maketrans("‹›", "<>")


class TemplateError(ValueError):
    """A sentence whose braces do not close."""


def compile_sentence(text: str) -> Template:
    """The parts of a sentence; raises TemplateError, or UnknownFieldError for a field that is none."""
    parts: list[str | Field] = []
    for found in _PART.finditer(text):
        if found[1] is not None:
            parts.append(parse(found[1].strip()))
        elif found[0] in ("{{", "}}"):
            parts.append(found[0][0])
        elif found[0] in "{}":
            raise TemplateError(f"a lonely '{found[0]}'")
        else:
            parts.append(found[0])
    return tuple(parts)


def fields_of(template: Template) -> list[Field]:
    """The fields in a sentence."""
    return [part for part in template if not isinstance(part, str)]


def fill(template: Template, read: Callable[[Field], Reading]) -> str:
    """The sentence about one action."""
    return "".join(part if isinstance(part, str) else in_words(read(part), part) for part in template)


def in_words(reading: Reading, field: Field) -> str:
    """The values of a field for people, in the order in which they stand."""
    if not isinstance(reading, Values):
        return "‹unknown›"
    if not reading.items:
        return "‹none›"
    words = ", ".join(_word(value, field) for value in reading.items[:MAX_SHOWN])
    more = len(reading.items) - MAX_SHOWN
    return f"{words} ‹and {more} more›" if more > 0 else words


def _word(value: str | None, field: Field) -> str:
    if value is None:
        return "‹unknown›"
    plain = redact_value(value[:MAX_LOOKED_AT].translate(_MARKS), field)
    return plain if len(plain) <= MAX_VALUE else f"{plain[:MAX_VALUE]}‹cut›"
