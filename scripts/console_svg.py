"""
Draw docs/console.svg: a real frame of the console, over holds that are made up.

    .venv/bin/python scripts/console_svg.py [OUT]
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from proxy.console.frame import frame
from proxy.console.scene import Scene
from proxy.wire import HoldView, Snapshot, Status

NOW = 1_795_335_909.0
SIZE = (100, 24)
OUT = Path(__file__).parent.parent / "docs" / "console.svg"


def holds() -> tuple[HoldView, ...]:
    """Three agents' wishes, the first of them selected."""
    refund = HoldView(
        id="7f3k2q9xw4mbc8ra1ztd6hy0pe",
        rule="refunds-wait",
        rules=("refunds-wait",),
        why="A refund moves money and cannot be taken back.",
        agent="uid:support-agent",
        method="POST",
        url="https://api.stripe.com/v1/refunds",
        operation="stripe.refund",
        says="Refund 9000 of charge ch_3PqL",
        show={"form.amount": ("9000",), "form.charge": ("ch_3PqL",), "form.reason": ("ask \u202ereven",)},
        digest="5be2c1f09a7d4e33" * 4,
        opened=NOW - 38,
        deadline=NOW + 862,
        approvals_needed=1,
        tier="high",
        reversible=False,
        reviewers=("finance",),
    )
    mail = HoldView(
        id="b81mz0c5k2q7f3xw9r4tad6hye",
        rule="many-recipients",
        rules=("many-recipients",),
        why="A mail to many people cannot be called back.",
        agent="uid:support-agent",
        method="POST",
        url="https://api.sendgrid.com/v3/mail/send",
        operation="sendgrid.send",
        says="Mail 500 people: “Your invoice”",
        show={},
        digest="1" * 64,
        opened=NOW - 12,
        deadline=NOW + 588,
        approvals_needed=1,
    )
    bucket = HoldView(
        id="q2w7f3xb81mz0c5k9r4tad6hye",
        rule="buckets-are-deleted-by-people",
        rules=("buckets-are-deleted-by-people",),
        why="What was in a bucket is gone with it.",
        agent="uid:ops-agent",
        method="DELETE",
        url="https://xn--bckets-3ya.s3.amazonaws.com/",
        operation="s3:DeleteBucket",
        says="",
        show={},
        digest="2" * 64,
        opened=NOW - 3,
        deadline=NOW + 57,
        approvals_needed=2,
        tier="critical",
        reversible=False,
    )
    return refund, mail, bucket


def main() -> None:
    """Write the picture."""
    status = Status("http://127.0.0.1:8080", "9c41d07e" * 8, allowed=1284, held=3, refused=2)
    scene = Scene(status)
    scene.apply(Snapshot(status, holds()))
    console = Console(
        file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor", width=SIZE[0],
        markup=False, emoji=False, highlight=False,
    )  # fmt: skip
    for line in frame(scene, NOW, *SIZE).lines:
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    drawn = console.export_svg(title="sluice: 3 waiting", unique_id="sluice")
    # Fonts from elsewhere would be fetched by whoever looks at the picture; the reader's own will do.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n")


if __name__ == "__main__":
    main()
