"""Which policy files are meant where none are named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from proxy.errors import fail
from proxy.state import config_folder


def packaged() -> Path:
    """The starter policies that come with Sluice."""
    return Path(__file__).parent / "policies"


def enforced_paths(named: Sequence[Path]) -> tuple[Path, ...]:
    """
    What `up` and `run` enforce: what is named, else the user's own, else the packaged ones.

    Never `./policies` unasked, because an agent may write there.
    """
    if named:
        return tuple(_there(path) for path in named)
    own = config_folder(os.environ) / "policies"
    return (own,) if own.is_dir() else (packaged(),)


def looked_at_paths(named: Sequence[Path]) -> tuple[Path, ...]:
    """What `check`, `test` and `explain` look at, which enforce nothing: `./policies` comes first."""
    if named:
        return tuple(_there(path) for path in named)
    here = Path("policies")
    return (here,) if here.is_dir() else enforced_paths(())


def _there(path: Path) -> Path:
    if not path.exists():
        raise fail(f"there is no policy '{path}'", fix="name a folder with *.yaml files, or a policy file")
    return path
