"""
What a reviewer signs: one act, in one ledger, at one time, with everything that it is about.

    {"about": {…}, "act": "approve", "key": "SHA256:…", "ledger": "4f1c…", "reviewer": "ada",
     "time": "2026-11-22T12:00:00.000000Z", "v": 1}

Canonical JSON (`proxy.chain`). For an answer to a hold `about` is what `proxy.signing.shown`
makes of the view; for any other act it is the order itself, field by field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.chain import UnfitError, canonical, moment, parse_line
from proxy.signing import ProofError, sshsig
from proxy.signing.publickey import PublicKey

LIMIT: Final = 12 * 1024
"""Bytes of a statement at most."""
FRESH: Final = 300 * 1_000_000
"""Microseconds by which a statement's time may differ from the gate's."""

APPROVE: Final = "approve"
DENY: Final = "deny"
ANSWERS: Final = frozenset({APPROVE, DENY})

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_ACT: Final = re.compile(r"[a-z][a-z-]{0,39}", re.ASCII)
_LEDGER: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_KEY: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}", re.ASCII)
_FIELDS: Final = frozenset({"about", "act", "key", "ledger", "reviewer", "time", "v"})


@dataclass(frozen=True, slots=True)
class Statement:
    """
    One act of one reviewer.

    `act` is a word of `ANSWERS` or what was ordered; `ledger` the id in the genesis (32 hex
    digits); `key` the fingerprint of the key that signs; `time` a `chain.stamp`.
    """

    act: str
    ledger: str
    reviewer: str
    key: str
    time: str
    about: Mapping[str, object]

    @property
    def data(self) -> bytes:
        """The bytes that are signed; ProofError where it is too long, or no text of ours."""
        whole = {name: getattr(self, name) for name in _FIELDS if name not in ("v", "about")}
        try:
            data = canonical({**whole, "about": dict(self.about), "v": 1})
        except UnfitError as error:
            raise ProofError("form", f"this cannot be signed: {error}") from None
        if len(data) > LIMIT:
            raise ProofError("form", f"a statement of {len(data)} bytes: at most {LIMIT} are signed")
        return data

    @property
    def moment(self) -> int:
        """Its time in microseconds."""
        return moment(self.time) or 0

    def check_fresh(self, at: int, early: int = FRESH) -> None:
        """ProofError unless it may count at this time (microseconds): it is at most so much older."""
        if not -FRESH <= at - self.moment <= early:
            raise ProofError(
                "stale",
                f"the statement is of {self.time}: it counts for five minutes",
                fix="sign again; if the clocks differ, set them",
            )

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """A statement from its bytes; ProofError unless they are exactly one."""
        if len(data) > LIMIT:
            raise ProofError("form", f"a statement of more than {LIMIT} bytes")
        try:
            fields = parse_line(data)
        except UnfitError as error:
            raise ProofError("form", f"the statement cannot be read: {error}") from None
        if fields.keys() != _FIELDS or fields["v"] != 1 or type(fields["v"]) is not int:
            raise ProofError("form", "the statement does not have the fields of version 1")
        patterns = {"act": _ACT, "ledger": _LEDGER, "reviewer": _NAME, "key": _KEY}
        for name, pattern in patterns.items():
            value = fields[name]
            if type(value) is not str or not pattern.fullmatch(value):
                raise ProofError("form", f"the statement's '{name}' is not as it must be")
        about = fields["about"]
        if moment(fields["time"]) is None or type(about) is not dict:
            raise ProofError("form", "the statement's 'time' or 'about' is not as it must be")
        texts = {name: str(fields[name]) for name in ("act", "ledger", "reviewer", "key", "time")}
        return cls(**texts, about=about)


@dataclass(frozen=True, slots=True)
class Proof:
    """
    A signed statement, as it is sent and kept: the exact text, and its SSHSIG envelope.

    Nothing in it is believed before `opened`.
    """

    statement: str
    signature: str

    def opened(self) -> tuple[Statement, PublicKey]:
        """
        What was signed, and by which key; ProofError unless the signature holds.

        Whose key that is, and whether it may, is the roll's to say (`proxy.ledger.roll`).
        """
        try:
            data = self.statement.encode()
        except UnicodeEncodeError:
            raise ProofError("form", "the statement is no text") from None
        statement = Statement.parse(data)
        key = sshsig.check(self.signature, data)
        if key.id != statement.key:
            raise ProofError("key", f"the statement names {statement.key}, and {key.id} has signed it")
        return statement, key
