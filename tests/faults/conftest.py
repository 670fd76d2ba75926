"""The fault suite is a script of its own: its parts are found in `scripts`."""

import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.append(str(SCRIPTS))
