"""The fault suite: see `scripts/faults.py` and docs/faults.md."""
