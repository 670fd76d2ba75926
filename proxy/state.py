"""
The state folder: where the ledger, the control socket, the CA and the keys lie.

It belongs to one account (0700; 0710 for a group of reviewers), or it is not used.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.errors import SluiceError, fail

_KEY_BYTES: Final = 32


def state_folder(given: Path | None, environment: Mapping[str, str]) -> Path:
    """`--state`, else SLUICE_STATE, else the XDG base directory specification's state home."""
    if given is not None:
        return given
    if named := environment.get("SLUICE_STATE"):
        return Path(named)
    home = (
        environment.get("XDG_STATE_HOME") or Path(environment.get("HOME") or Path.home()) / ".local" / "state"
    )
    return Path(home) / "sluice"


def config_folder(environment: Mapping[str, str]) -> Path:
    """Where the user's own policies and `reviewers.yaml` lie."""
    home = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home()) / ".config"
    return Path(home) / "sluice"


def prepare(folder: Path, *, group: int | None = None) -> None:
    """
    Make the folder, or refuse one that others can change.

    `group` is the id of the reviewers' group, which may then pass through (0710).
    """
    mode = 0o700 if group is None else 0o710
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise _unusable(folder, str(error.strerror)) from None
    if not stat.S_ISDIR(found.st_mode):
        raise _unusable(folder, "it is not a folder")
    if found.st_uid != os.geteuid():
        raise _unusable(folder, f"it belongs to uid {found.st_uid}, this is uid {os.geteuid()}")
    if found.st_mode & 0o022:
        raise fail(
            f"state folder '{folder}' can be written by others (mode {stat.S_IMODE(found.st_mode):04o})",
            "whoever writes there can exchange the ledger, the CA or the control socket",
            f"chmod 700 '{folder}'",
        )
    if group is not None:
        os.chown(folder, -1, group)
    if stat.S_IMODE(found.st_mode) != mode:
        folder.chmod(mode)


def _unusable(folder: Path, why: str) -> SluiceError:
    return fail(
        f"state folder '{folder}' cannot be used: {why}",
        "ledger, CA and control socket lie there",
        "name another with --state DIR",
    )


def secret_key(folder: Path, name: str) -> bytes:
    """32 secret bytes kept in the state folder (0600); made once."""
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read_key(path)
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(_KEY_BYTES)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def _read_key(path: Path) -> bytes:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise fail(f"key '{path}' can be read by others", "it must be ours alone", f"chmod 600 '{path}'")
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise fail(
            f"key '{path}' has {len(key)} bytes instead of {_KEY_BYTES}",
            "it was cut, perhaps by a full disk",
            f"remove it: first-seen markers of credentials begin anew: rm '{path}'",
        )
    return key
