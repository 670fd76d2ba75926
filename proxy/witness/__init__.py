"""
Witnesses: places that the machine's owner cannot quietly change, which are sent the signed head.

Each is one line: ``KIND:WHERE`` (`proxy.witness.kinds`). Sending is never in the way of a
request: a witness that cannot be reached is shown and written down, and what it missed is sent
in order once it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.errors import SluiceError
from proxy.ledger.anchors import Place
from proxy.ledger.seal import Seal


class Witness(Protocol):
    """One place that is sent signed heads."""

    @property
    def name(self) -> str:
        """As a person calls it; no secret is in it."""
        ...

    @property
    def every(self) -> float:
        """Seconds between two heads at least."""
        ...

    @property
    def renew(self) -> float:
        """
        Seconds after which a head that was sent is sent once more, where there is no newer one; 0: never.

        For a witness that says when it has seen it: then nothing was cut off until then.
        """
        ...

    @property
    def place(self) -> Place | None:
        """Where what it was sent can be read again from this machine; None where it cannot."""
        ...

    def send(self, seals: Sequence[Seal]) -> None:
        """
        Send heads, oldest first; when this returns they are kept.

        Runs in a thread of its own and comes back within 30 s a head. Raises OSError or
        SluiceError where they may not be kept.
        """
        ...


class RefusedError(SluiceError):
    """The witness answered, and the answer is no."""
