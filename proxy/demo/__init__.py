"""A fake bank, mail and file API, an agent that uses them, and the gate between."""
