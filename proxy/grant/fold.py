"""
The grants that stand: a fold over the entries of the ledger.

    granted    opens a grant, until its time is over or it has been used as often as it says
    decided    with `grant` uses it once
    revoked    ends it: a person took it back, or what it rests on has changed
    rotated_key, revoked_key, regrouped   end those that this reviewer gave

Time is what the entries and the clock have said at the latest, so that a clock that is set
back gives no grant more time. An entry that is not understood opens nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxy.action import Action
from proxy.chain import cut, moment, stamp
from proxy.errors import Exit, SluiceError, fail
from proxy.grant.scope import allows, load, refusal
from proxy.ledger import Fields
from proxy.policy import Policy
from proxy.policy.rule import DEFAULT
from proxy.policy.verdict import Verdict

DAY: Final = 24 * 3600
MAX_USES: Final = 1_000
MAX_OPEN: Final = 1_000
"""How many grants may stand at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How long a grant stands (seconds), and how often it may be used.

    Raises SluiceError beyond a day or 1,000 uses.
    """

    seconds: int = 600
    uses: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= DAY:
            raise fail("a grant stands for a second at least and for 24 hours at most", fix="--for 10m")
        if not 1 <= self.uses <= MAX_USES:
            raise fail(f"a grant is used once at least and {MAX_USES} times at most", fix="--uses 5")


@dataclass(frozen=True, slots=True)
class Grant:
    """
    One grant. `hold` is the one that was approved with it, `by` and `person` who did that.

    `text` is its rule. `mark` is the keyed hash of the only request that it covers, empty where the
    rule says everything. `rules` are those that held the request, with the hash of their content
    then. `until` is Unix time in seconds.
    """

    id: str
    hold: str
    agent: str
    by: str
    person: str
    text: str
    mark: str
    rules: tuple[tuple[str, str], ...]
    uses: int
    until: float
    used: int = 0

    @property
    def left(self) -> int:
        """How often it may still be used."""
        return max(0, self.uses - self.used)

    def fields(self) -> dict[str, object]:
        """As the entry `granted` has it."""
        return {
            "grant": self.id,
            "hold": self.hold,
            "agent": self.agent,
            "reviewer": cut(self.by, 200),
            "person": cut(self.person, 200),
            "grants": self.text,
            "same": self.mark,
            "rules": [name for name, _ in self.rules],
            "contents": [content for _, content in self.rules],
            "uses": self.uses,
            "until": stamp(round(self.until * 1_000_000)),
        }


def mark_of(digest: bytes, key: bytes) -> str:
    """A keyed hash of a request's digest (32 hex digits), from which nobody can tell the request."""
    return hashlib.blake2b(digest, key=key, digest_size=16, person=b"grant").hexdigest()


def contents(policy: Policy, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Rules by name with the hash of what they say; one that the policy does not have has none."""
    wanted = set(names)
    said: dict[str, object] = {rule.name: rule.content() for rule in policy.rules if rule.name in wanted}
    said |= {DEFAULT: policy.default.content()} if DEFAULT in wanted else {}
    return tuple((name, _hash(said[name]) if name in said else "") for name in sorted(wanted))


def _hash(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


class Grants:
    """The grants that stand. For the event loop alone; no step of it waits for anything."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Grant, Policy]] = {}
        self._now = 0.0

    def __bool__(self) -> bool:
        """Whether there may be one that stands."""
        return bool(self._open)

    # -- the fold ------------------------------------------------------------------------

    def take(self, fields: Fields) -> None:
        """Go on by one entry (its `time` counts, where it has one)."""
        time = moment(fields.get("time"))
        self._passed(0.0 if time is None else time / 1_000_000)
        match fields.get("kind"):
            case "granted":
                self._granted(fields)
            case "revoked":
                self._open.pop(_text(fields, "grant"), None)
            case "decided":
                self._use(_text(fields, "grant"))
            case "rotated_key" | "revoked_key" | "regrouped":
                self._withdraw(_text(fields, "reviewer"))

    def _withdraw(self, name: str) -> None:
        for id in [id for id, (grant, _) in self._open.items() if grant.by == name]:
            del self._open[id]

    def _granted(self, fields: Fields) -> None:
        grant = _read(fields)
        if grant is not None and grant.id not in self._open:
            try:
                self.open(replace(grant, until=min(grant.until, self._now + DAY)))
            except SluiceError:
                return  # a rule that this version does not understand lets nothing through

    def _use(self, id: str) -> None:
        if (found := self._open.get(id)) is None:
            return
        grant, rule = found
        self._open[id] = replace(grant, used=grant.used + 1), rule
        if grant.left <= 1:
            del self._open[id]

    def _passed(self, time: float) -> None:
        self._now = max(self._now, time)

    # -- now -----------------------------------------------------------------------------

    def open(self, grant: Grant) -> None:
        """One more; SluiceError where there are too many, or its rule is none."""
        self.check_room()
        self._open[grant.id] = grant, load(grant.text)

    def check_room(self) -> None:
        """SluiceError (exit 1) where there is no room for one more."""
        self._end_late()
        if len(self._open) >= MAX_OPEN:
            raise fail(
                f"{MAX_OPEN} grants stand already",
                "each is one more way past the reviewers",
                "sluice grants; sluice revoke",
                exit=Exit.NO,
            )

    def spend(self, action: Action, verdict: Verdict, mark: str, now: float) -> Grant | None:
        """
        The grant that covers this held request, used once by this very step; None where none does.

        `mark` is the request's `mark_of`. The one that ends first is used first.
        """
        if not self._open or refusal(action, verdict):
            return None
        found = min(self.covering(action, verdict, mark, now), key=lambda grant: grant.until, default=None)
        if found is not None:
            self._use(found.id)
        return found

    def covering(self, action: Action, verdict: Verdict, mark: str, now: float) -> Iterator[Grant]:
        """The grants that cover a request which these rules hold."""
        self._passed(now)
        self._end_late()
        for grant, rule in list(self._open.values()):
            if grant.agent != action.request.agent or (grant.mark and grant.mark != mark):
                continue
            if {name for name, _ in grant.rules}.issuperset(verdict.rules) and allows(rule, action):
                yield grant

    def standing(self, now: float) -> tuple[Grant, ...]:
        """Those that may still be used, oldest first."""
        self._passed(now)
        self._end_late()
        return tuple(grant for grant, _ in self._open.values())

    def find(self, prefix: str, now: float) -> Grant:
        """A grant by a unique prefix of its id, or of the id of its hold; SluiceError with exit 1."""
        found = [
            one
            for one in self.standing(now)
            if prefix and (one.id.startswith(prefix) or one.hold.startswith(prefix))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise fail(
                f"'{prefix}' is the beginning of {len(found)} grants", fix="sluice grants", exit=Exit.NO
            )
        raise fail(
            f"no grant '{prefix}'", "it may be used up, over or revoked", "sluice grants", exit=Exit.NO
        )

    def revoke(self, id: str) -> None:
        """End one, at once."""
        self._open.pop(id, None)

    def changed(self, policy: Policy) -> list[Grant]:
        """Those of which a rule says something else in this policy, or is not in it."""
        return [grant for grant, _ in self._open.values() if contents(policy, _names(grant)) != grant.rules]

    def _end_late(self) -> None:
        for id in [id for id, (grant, _) in self._open.items() if grant.until <= self._now]:
            del self._open[id]


def _names(grant: Grant) -> Sequence[str]:
    return [name for name, _ in grant.rules]


def _read(fields: Fields) -> Grant | None:
    """The grant that an entry opens; None where the entry is not one that we write."""
    texts = {
        name: fields.get(name) for name in ("grant", "hold", "agent", "reviewer", "person", "grants", "same")
    }
    names, hashes = fields.get("rules"), fields.get("contents")
    uses, until = fields.get("uses"), moment(fields.get("until"))
    if not all(type(text) is str for text in texts.values()) or not isinstance(names, list):
        return None
    if not isinstance(hashes, list) or len(hashes) != len(names) or type(uses) is not int or until is None:
        return None
    id, hold, agent, by, person, text, mark = map(str, texts.values())
    rules = tuple((str(name), str(content)) for name, content in zip(names, hashes, strict=True))
    if not id or not text or not 1 <= uses <= MAX_USES:
        return None
    return Grant(id, hold, agent, by, person, text, mark, rules, uses, until / 1_000_000)


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if type(value) is str else ""
