"""The real admission that the tests of admission have."""

from admission.conftest import hall

__all__ = ["hall"]
