"""The gate's fixtures, for whoever attacks it."""

from gate.conftest import door, listen, open_gate, pki, upstream

__all__ = ["door", "listen", "open_gate", "pki", "upstream"]
