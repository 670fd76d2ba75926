"""The SQLite library that this Python was built with."""

from __future__ import annotations

import sqlite3
from typing import Final

VERSION: Final = sqlite3.sqlite_version_info
"""Its version, in three numbers."""

SAFE_WITH_TWO_WRITERS: Final = (3, 51, 3)
"""Before this one two connections that write can lose commits (sqlite.org/wal.html, the WAL-reset bug)."""
