"""
The lexicon: every known word with its marks, made once from the lists beside this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from proxy.decode.words import marks
from proxy.decode.words.nouns import NOUNS, PAIRS, PLURALS
from proxy.decode.words.verbs import MANNERS, TURNS, VERBS


def plural(word: str) -> str:
    """The usual English plural of a noun."""
    if word.endswith("y") and word[-2:-1] not in ("a", "e", "o", "u"):
        return f"{word[:-1]}ies"
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    return f"{word}s"


def _compiled() -> dict[str, int]:
    """Every word, nouns also in the plural, with all that it can be."""
    found: dict[str, int] = {}
    asis = [*VERBS.items(), *PLURALS.items(), (marks.MANNER, MANNERS), (marks.TURN, TURNS)]
    for mark, text in asis:
        for word in text.split():
            found[word] = found.get(word, 0) | mark
    for mark, text in NOUNS.items():
        for word in text.split():
            for form in (word, plural(word)):
                found[form] = found.get(form, 0) | mark
    return found


LEXICON: Final[Mapping[str, int]] = _compiled()

PAIRED: Final[Mapping[tuple[str, str], int]] = {
    (first, second): mark
    for mark, text in PAIRS.items()
    for first, _, second in (pair.partition("-") for pair in text.split())
}

_LONG: Final = 5
_TELLS: Final = [
    word
    for word, mark in LEXICON.items()
    if mark & (marks.GUARD | marks.MONEY | marks.ERASE) and len(word) >= _LONG
]
TELLING: Final = re.compile("|".join(sorted(_TELLS, key=len, reverse=True)))
"""Words that tell even inside one that is run together with unknown ones; the longest first."""
