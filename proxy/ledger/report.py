"""
What verifying found, and how far it goes: a level, never a bare yes.

    chain      every entry is as it was when the next one was chained to it
    signed     and the head is one that the holder of a key signed which the verifier had before
    anchored   and the beginning of it is what a place outside has seen
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.chain import Finding
from proxy.errors import Exit
from proxy.ledger.anchors import Compared

PROVES: Final = {
    "chain": "every entry is as it was when the next one was chained to it; none between them was added or "
    "removed",
    "signed": "these are the entries, all of them up to the head, that the holder of the pinned key signed",
    "anchored": "the entries up to the newest checkpoint kept elsewhere are those that were there when it "
    "was taken, whoever holds the key",
}
_CHAIN: Final = (
    "whoever can write this file can cut off its newest entries or write all of it anew, unseen; "
    "compare the head with one that was kept elsewhere"
)
_NAMED: Final = (
    "its head is signed, but only the file itself says by whom: pin the key with --key; "
    "checkpoints kept elsewhere are compared with --against"
)
_SIGNED: Final = (
    "whoever holds the log's key can cut off its newest entries or write all of it anew, and an older copy, "
    "signed then, passes as well; compare with checkpoints that were kept elsewhere (--against)"
)


@dataclass(frozen=True, slots=True)
class Report:
    """
    What verifying found.

    `source` is ``ledger`` or ``export``. `entries` counts all that the chain covers, `omitted`
    those of which only the hash is there, `pruned` those that are gone. `more` counts the
    findings beyond those listed. `live` says that a proxy was writing meanwhile: what it wrote
    since is not covered. `vkey` is the key that the head is signed with, `sealed` that it is,
    `pinned` that the verifier named the key. `places` are those that were compared with. `reviews`
    say how many were ``signed``, by reviewer, and how many were ``unsigned``, before anybody was enrolled.
    `encrypted` counts the payloads that are, `unopened` those of them that the key at hand did not open;
    `payloads_key` is its id, None where there was none.
    """

    source: str
    entries: int
    omitted: int
    head: str
    first: str | None
    last: str | None
    findings: tuple[Finding, ...]
    more: int = 0
    live: bool = False
    pruned: int = 0
    root: str = ""
    vkey: str | None = None
    sealed: bool = False
    pinned: bool = False
    places: tuple[Compared, ...] = ()
    reviews: Mapping[str, object] = field(default_factory=dict)
    encrypted: int = 0
    unopened: int = 0
    payloads_key: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def exit(self) -> Exit:
        """0 where nothing was found, else 1."""
        return Exit.YES if self.ok else Exit.NO

    @property
    def anchor(self) -> Compared | None:
        """The place whose checkpoint covers the most entries; None where none agrees."""
        agreeing = [place for place in self.places if place.size]
        return max(agreeing, key=lambda place: place.size, default=None)

    @property
    def level(self) -> str | None:
        """How far it goes; None where something was found."""
        if not self.ok:
            return None
        if self.anchor is not None:
            return "anchored"
        return "signed" if self.sealed and self.pinned else "chain"

    def as_dict(self) -> dict[str, object]:
        """The object that `ledger verify --json` prints."""
        anchor = self.anchor
        return {
            "ok": self.ok,
            "level": self.level,
            "source": self.source,
            "entries": self.entries,
            "omitted": self.omitted,
            "pruned": self.pruned,
            "head": self.head,
            "root": self.root,
            "first": self.first,
            "last": self.last,
            "live": self.live,
            "vkey": self.vkey,
            "pinned": self.pinned,
            "sealed": self.sealed,
            "anchored": anchor.as_dict() if anchor is not None and self.ok else None,
            "places": [place.as_dict() for place in self.places],
            "reviews": dict(self.reviews),
            "encrypted": self.encrypted,
            "unopened": self.unopened,
            "payloads_key": self.payloads_key,
            "findings": [{"seq": seq, "code": code, "what": what} for seq, code, what in self.findings],
            "more": self.more,
            "proves": None if self.level is None else PROVES[self.level],
            "limits": self.limits,
        }

    @property
    def limits(self) -> str:
        """What this does not prove and what could still have been cut off, in plain words."""
        said = [self._cuttable()]
        if self.omitted:
            said.append(f"{self.omitted} entries are left out, and nothing is said of what is in them")
        if self.pruned:
            said.append(f"{self.pruned} entries were pruned: their archive verifies by itself")
        if self.unopened:
            said.append(self._closed())
        return "; ".join(said)

    def _closed(self) -> str:
        """What could not be looked into. The ciphertext is committed to as well, and was compared."""
        missing = "their key is not here" if self.payloads_key is None else "the key here is not theirs"
        return (
            f"{self.unopened} of {self.encrypted} encrypted payloads were not opened, {missing}: "
            "that their bytes are those that were kept is shown, what is in them is not"
        )

    def _cuttable(self) -> str:
        anchor = self.anchor
        if anchor is not None:
            newer = self.entries - anchor.size
            if not newer:
                return "every entry is covered; entries that came after these could have been cut off"
            which = (
                f"entry {anchor.size} is"
                if newer == 1
                else f"entries {anchor.size} to {self.entries - 1} are"
            )
            return (
                f"{which} newer than the newest checkpoint kept elsewhere: whoever holds the log's key could "
                "still cut off or change what is newer than it"
            )
        if self.level == "signed":
            return _SIGNED
        return f"{_CHAIN}; {_NAMED}" if self.sealed else _CHAIN
