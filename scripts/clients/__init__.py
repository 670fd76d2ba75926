"""Real clients, held for long and then released: see `scripts/clients.py`."""
