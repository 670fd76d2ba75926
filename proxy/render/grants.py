"""What may go without a prompt, as people read it: the rule itself, its limits, and what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from proxy.render.holds import time_left
from proxy.render.text import safe
from proxy.wire import GrantView, Offer


def offer_lines(offer: Offer, limits: str) -> Iterator[Text]:
    """What approving the like of a hold lets through, before it is approved."""
    yield Text.assemble(
        "approving hold ", safe(offer.hold[:6]), ", and its like ", (limits, "bold yellow"), ":"
    )
    yield from _rule(offer.rule)
    yield Text.assemble(("left open: ", "yellow"), safe(offer.free))


def grant_lines(views: Sequence[GrantView], now: float) -> Iterator[Text]:
    """`sluice grants`: each with its rule, or a line that says there are none."""
    if not views:
        yield Text("no grant stands")
    for view in views:
        left = f"{view.left} of {view.uses} uses and {time_left(view.until - now)} left"
        yield Text.assemble(
            (view.id[:6], "bold"), f"  {left}, by ", safe(view.by[:80]), " with hold ", safe(view.hold[:6]),
            ", for ", safe(view.agent[:80]),
        )  # fmt: skip
        yield from _rule(view.rule)
        yield Text.assemble(("    left open: ", "yellow"), safe(view.free))


def _rule(text: str) -> Iterator[Text]:
    return (Text.assemble("    ", safe(line)) for line in text.rstrip("\n").split("\n"))
