"""The real admission that the tests of admission have, and the product as the end-to-end tests have it."""

from admission.conftest import hall
from e2e.conftest import _numbers, authority, gate, home, mark, nowhere, started, upstream, upstream_ca

__all__ = [
    "_numbers",
    "authority",
    "gate",
    "hall",
    "home",
    "mark",
    "nowhere",
    "started",
    "upstream",
    "upstream_ca",
]
