"""The parts of `scripts/bench.py`: what it starts, what it loads them with, and how it tells."""
