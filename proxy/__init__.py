"""Sluice: a proxy that holds an agent's risky API calls until a person decides."""

__version__ = "0.1.0"
