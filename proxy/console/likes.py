"""
Approving the like of a request: the rule that this would be, for how long, and how often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.wire import Call, HoldView, Offer, Verb

SECONDS: Final = (600, 3_600, 4 * 3_600, 24 * 3_600)
USES: Final = (5, 20, 100, 1_000)
_SPELLED: Final[Mapping[int, str]] = dict(
    zip(SECONDS, ("10 minutes", "1 hour", "4 hours", "24 hours"), strict=True)
)


@dataclass(frozen=True, slots=True)
class Like:
    """
    What is offered for a hold, and within which limits it would stand.

    `offer` is None until it has come. `view` is the hold as it was when the reviewer asked.
    """

    view: HoldView
    offer: Offer | None = None
    seconds: int = SECONDS[0]
    uses: int = USES[0]

    @property
    def limits(self) -> str:
        """For how long and how often, in words."""
        return f"for {_SPELLED[self.seconds]}, {self.uses:,} times more"

    @property
    def lines(self) -> tuple[str, ...]:
        """The rule, line by line."""
        return () if self.offer is None else tuple(self.offer.rule.rstrip("\n").split("\n"))

    def names(self) -> list[str]:
        """What has to have been on the screen before it can be granted."""
        return [self.name(at) for at in range(len(self.lines))]

    def name(self, at: int) -> str:
        """The name under which a frame says that it shows a line of the rule."""
        return f"rule {self.view.id} {self.view.digest} {at} {self.lines[at]}"

    def call(self) -> Call:
        """Approve exactly this request, and grant exactly this rule."""
        assert self.offer is not None
        return Call(
            Verb.GRANT,
            prefix=self.offer.hold,
            digest=self.offer.digest,
            rule=self.offer.rule,
            seconds=self.seconds,
            uses=self.uses,
        )


def next_of(choices: tuple[int, ...], now: int) -> int:
    """The choice after this one, and after the last the first."""
    return choices[(choices.index(now) + 1) % len(choices)]
