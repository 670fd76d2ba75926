"""
Secrets that are known by what they look like, wherever they stand, and names with a value in text.

Linear in the text: each pattern starts where a word starts, or is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from proxy.redact.names import secret_name, steps_of

_SHORTEST: Final = 15
"""No secret of letters and digits alone has a shape below this many characters."""
_REPEATED: Final = 8
"""A secret of this many characters is removed wherever else it stands; a shorter one is a word."""


@dataclass(slots=True)
class Found:
    """The secrets of one request: their numbers, and where each stood."""

    numbers: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    last: int = 0

    def mark(self, secret: str, where: str, *spellings: str) -> str:
        """What stands in the place of a secret; `spellings` are other ways in which it may be written."""
        if not secret or MARK.fullmatch(secret):
            return secret
        number = self.numbers.get(secret)
        if number is None:
            self.last = number = self.last + 1
            for spelling in (secret, *spellings):
                self.numbers.setdefault(spelling, number)
        if where not in self.removed and len(self.removed) < 100:
            self.removed.append(where)
        return f"‹secret {number}›"

    def everywhere(self, text: str) -> str:
        """The text without any secret that was found in another place."""
        for secret, number in list(self.numbers.items())[:200]:
            if len(secret) >= _REPEATED:
                text = text.replace(secret, f"‹secret {number}›")
        return text

    def rewritten(self, raw: str, plain: str, clean: str, where: str) -> str | None:
        """What stands for a value of which a part is secret; None: `clean`, in a spelling of its own."""
        return None


MARK: Final = re.compile(r"‹secret ([0-9]{1,9})›")
"""What stands in the place of a secret; its number is the first group."""


@dataclass(slots=True)
class Kept(Found):
    """
    Secrets that can be put back: each mark stands for one text, as it was written.

    A secret that is written in two ways has a number for each.
    """

    texts: dict[int, str] = field(default_factory=dict)

    def mark(self, secret: str, where: str, *spellings: str) -> str:
        """What stands in the place of a secret, and of this spelling alone."""
        whole = self.back(secret)
        shown = Found.mark(self, whole, where, *spellings)
        number = self.numbers.get(whole)
        return shown if number is None else f"‹secret {self._own(whole, number)}›"

    def everywhere(self, text: str) -> str:
        """The text without any secret that was found in another place."""
        for secret, number in list(self.numbers.items())[:200]:
            if len(secret) >= _REPEATED and secret in text:
                text = text.replace(secret, f"‹secret {self._own(secret, number)}›")
        return text

    def rewritten(self, raw: str, plain: str, clean: str, where: str) -> str | None:
        """As it is written where that is plain, else all of it is a secret: no spelling is lost."""
        return clean if raw == plain else self.mark(raw, where, plain)

    def back(self, text: str) -> str:
        """The text with its secrets in the place of their marks; marks that are none of ours stay."""
        return MARK.sub(lambda match: self.texts.get(int(match[1]), match[0]), text)

    def _own(self, secret: str, number: int) -> int:
        if self.texts.setdefault(number, secret) == secret:
            return number
        self.last += 1
        self.numbers[secret] = self.last
        self.texts[self.last] = secret
        return self.last


# Each alternative either takes its whole run of characters or begins where no run does, so that
# no text is read twice.
_SHAPE: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?<![A-Za-z0-9])(?:"
    r"[srp]k_(?:live|test)_[A-Za-z0-9]{6,}|whsec_[A-Za-z0-9+/=]{8,}|sk-[A-Za-z0-9_-]{16,}|sq0[a-z]{3}-[\w-]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|npm_[A-Za-z0-9]{20,}|pypi-[\w-]{16,}"
    r"|xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{8,}|A(?:KIA|SIA|IDA|ROA)[A-Z0-9]{12,}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{10,}|1//0[\w-]{20,}|GOCSPX-[\w-]{16,}|SG\.[\w-]{10,80}\.[\w-]{10,}|key-[0-9a-f]{32}"
    r"|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|dop_v1_[0-9a-f]{32,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{16,}"
    r"|hvs\.[\w-]{16,}|lin_api_[A-Za-z0-9]{16,}|ntn_[A-Za-z0-9]{20,}|ATATT[\w=-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    r"|[0-9]{6,12}:AA[\w-]{30,}|(?i:bearer)[ \t]{1,4}[A-Za-z0-9._~+/=-]{16,}"
    r"|[0-9]{15,16}(?![0-9])|(?:[0-9]{4}[ -]){3}[0-9]{4}(?![0-9])"
    r")"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|(?<=://)[^/\s@:\"'<>?#]{0,200}:[^/\s@\"'<>?#]{1,200}(?=@)",
    re.ASCII,
)
_HOOK: Final = re.compile(
    r"(/bot)([0-9]{5,12}:[\w-]{20,})"
    r"|(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)([^\s\"'?#<>]+)"
    r"|(/api/(?:v[0-9]{1,2}/)?webhooks/[0-9]{5,25}/)([\w-]{16,})"
    r"|(\.webhook\.office\.com/webhookb2/|outlook\.office(?:365)?\.com/webhook/)([^\s\"'?#<>]+)"
    r"|(hooks\.zapier\.com/hooks/catch/)([^\s\"'?#<>]+)"
    r"|(maker\.ifttt\.com/[^\s\"'?#<>]{0,200}/key/)([\w-]+)"
    r"|(\.(?:infura\.io|alchemy\.com|alchemyapi\.io|quiknode\.pro)/(?:v[0-9]/)?)([\w-]{16,})"
    r"|(/(?:web)?hooks?/|/callbacks?/|/incoming/|/trigger/)((?:[\w.~%-]{1,60}/){0,3}[\w~%-]{20,})",
    re.ASCII | re.IGNORECASE,
)
_PAIR: Final = re.compile(
    r"(?<![\w.\-\[\]])([A-Za-z][\w.\-\[\]]{1,199})(\\?[\"']?[ \t]{0,4}(?:=>?|:)[ \t]{0,4})", re.ASCII
)
_PAIR_VALUE: Final = re.compile(
    r"\\?\"((?:[^\"\\\n]|\\[^\"\n])*)|'([^'\n]*)"
    r"|((?:(?:[Bb]earer|[Bb]asic|[Tt]oken|[Bb]ot)[ ]+)?(?:‹secret [0-9]{1,9}›|[^\s&;,<>\"'}\])])+)"
)
_ELEMENT: Final = re.compile(r"<(?:[\w.\-]{1,40}:)?([A-Za-z_][\w.\-]{0,60})(?:\s[^<>]{0,300})?>([^<]+)")


def scrub(text: str, found: Found, where: str) -> str:
    """Text of no known form, without secret shapes and without the values of secret names."""
    if len(text) < _SHORTEST and text.replace(" ", "").isalnum():
        return text
    text = shapes(text, found, where)
    text = _HOOK.sub(lambda match: _hook(match, found), text)
    if "=" in text or ":" in text:
        text = _pairs(text, found, where)
    if "<" in text:
        text = _ELEMENT.sub(lambda match: _element(match, found, where), text)
    return text


def shapes(text: str, found: Found, where: str) -> str:
    """Text without what looks like a secret."""
    return _SHAPE.sub(lambda match: _shape(match[0], found, where), text)


def _shape(secret: str, found: Found, where: str) -> str:
    if secret[0].isdigit() and ":" not in secret and not secret.startswith("1//") and not _is_card(secret):
        return secret
    return found.mark(secret, f"{where}: a known form of secret", secret.partition(":")[2])


def _is_card(number: str) -> bool:
    """Whether digits can be a payment card's (ISO/IEC 7812): first a scheme's, last the check digit."""
    digits = [int(digit) for digit in number if digit.isdigit()]
    if digits[0] not in (3, 4, 5, 6) and not (digits[0] == 2 and 2 <= digits[1] <= 7):
        return False
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _pairs(text: str, found: Found, where: str) -> str:
    parts: list[str] = []
    at = 0
    for pair in _PAIR.finditer(text):
        if pair.start() < at or not secret_name(steps_of(pair[1])):
            continue
        value = _PAIR_VALUE.match(text, pair.end())
        if value is None or value.lastindex is None:
            continue
        start, end = value.span(value.lastindex)
        parts += (text[at:start], found.mark(text[start:end], f"{where}: {pair[1][:60]}"))
        at = end
    return "".join((*parts, text[at:]))


def _element(match: re.Match[str], found: Found, where: str) -> str:
    if not secret_name((match[1],)) or not match[2].strip():
        return match[0]
    return match[0][: match.start(2) - match.start()] + found.mark(match[2], f"{where}: {match[1]}")


def scrub_path(path: str, found: Found) -> str:
    path = _HOOK.sub(lambda match: _hook(match, found), path)
    path = shapes(path, found, "path")
    if "%" not in path:
        return path
    return "/".join(_segment(segment, found) for segment in path.split("/"))


def _segment(segment: str, found: Found) -> str:
    plain = unquote(segment)
    if plain == segment or not (_SHAPE.search(plain) or _HOOK.search(f"/{plain}")):
        return segment
    return found.mark(segment, "path")


def _hook(match: re.Match[str], found: Found) -> str:
    assert match.lastindex is not None
    known, secret = match[match.lastindex - 1], match[match.lastindex]
    last = secret.rpartition("/")[2]
    if match.lastindex == 16 and not (any(c.isdigit() for c in last) and any(c.isalpha() for c in last)):
        return match[0]  # a path below "hooks" that reads as words is no secret
    return known + found.mark(secret, "path")
