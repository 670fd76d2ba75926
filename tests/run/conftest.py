"""Fixtures of this folder."""

from conftest_run import control

__all__ = ["control"]
