"""
When a ledger is lost: a start refuses, and only a person may go on, with a new one that says so.

Lost means that a place outside has seen more than is there, or something else. Going on
silently would make the loss look as if nothing had been there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.chain import Findings, cut
from proxy.errors import Exit, SluiceError, fail
from proxy.ledger import Fields
from proxy.ledger.anchors import Place, Roots, Shelf, judge, shelves, signed_elsewhere
from proxy.ledger.files import Lock, beside, sync_folder
from proxy.ledger.opening import ROOTED, first_fields, key_line, make_ledger, named_key
from proxy.ledger.read import BROKEN, hashes, head, reading
from proxy.ledger.removal import pruned_in
from proxy.ledger.seal import Seal, make_key, origin, read_key
from proxy.note import Key, NoteError

_LINEAGE: Final = 100
_ASK: Final = "find out what happened; to go on with a new ledger that says so: sluice ledger accept-loss"


def check_places(path: Path, key: Path, places: Sequence[Place], seal: Seal | None) -> None:
    """
    Refuse to start where a place has seen what is not there; `seal` is None where no ledger is.

    Raises SluiceError (exit 1).
    """
    if not places:
        return
    if seal is None:
        _check_gone(path, key, places)
        return
    with reading(path) as connection:
        keys, fields = key_line(connection).keys, first_fields(connection)
        named = keys[-1]  # a ledger with a seal names its key
        found = shelves(places, named.name)
        findings = Findings()
        if not _agree_at_end(found, seal):
            pruned = pruned_in(connection)
            roots = Roots(found)
            if pruned is not None:
                roots.begin(pruned.tree)
            for one in hashes(connection, seal.tree.size - 1, roots.tree.size - 1):
                roots.add(one)
            for shelf in found:
                judge(shelf, seal.tree.size, keys, findings)
    lineage = fields.get("lineage")
    known = {named.name, *(lineage if isinstance(lineage, list) else ())}
    for shelf in found:
        for key_before in keys:
            _refuse_others(path, shelf, key_before.public, known)
    wrong = [finding for finding in findings.kept if finding.code in ("anchor_cut", "anchor_root")]
    if wrong:
        raise fail(
            f"the ledger '{path}' is not what was seen of it: {wrong[0].what}",
            "entries were lost, or an older copy was put back; going on would hide that",
            _ASK,
            exit=Exit.NO,
        )


def _agree_at_end(found: Sequence[Shelf], seal: Seal) -> bool:
    """Whether every place has seen the very head that is there; small ledgers are compared whole."""
    if seal.tree.size <= ROOTED:
        return False
    root = seal.tree.root()
    return all(
        shelf.sizes and shelf.sizes[-1] == seal.tree.size and shelf.root(len(shelf.sizes) - 1) == root
        for shelf in found
    )


def _check_gone(path: Path, key: Path, places: Sequence[Place]) -> None:
    """No ledger is there: then no place may have seen one that our key has signed."""
    if not key.exists():
        return
    public = read_key(key).public_key().public_bytes_raw()
    for shelf in shelves(places, ""):
        _refuse_others(path, shelf, public, set())


def _refuse_others(path: Path, shelf: Shelf, public: bytes, known: set[str]) -> None:
    for other, size in signed_elsewhere(shelf, public).items():
        if other not in known:
            raise fail(
                f"'{shelf.place.name}' has seen another ledger of this key, with {size} entries: {other}",
                f"'{path}' is not that one: it is gone, or something else was put in its place",
                _ASK,
                exit=Exit.NO,
            )


def accept_loss(
    path: Path, key: Path, places: Sequence[Place], reason: str, now: int
) -> tuple[Path | None, Key]:
    """
    Put a ledger away, unchanged, and begin a new one whose genesis names it and says why.

    `now` is in microseconds. Returns where the old one lies now (None: nothing was there) and
    the key of the new one. Nothing is ever added to what was put away.
    """
    lock = Lock(path)
    try:
        stamp = datetime.fromtimestamp(now / 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
        before = _known(path, places)
        private = _private(key, before, stamp)
        away = _put_away(path, stamp)
        more = {**before, "reason": cut(reason, 2_000), "file": None if away is None else away.name}
        lineage = _lineage(before, places, private)
        return away, make_ledger(path, private, now, {"previous": more, "lineage": lineage})
    finally:
        lock.release()


def _known(path: Path, places: Sequence[Place]) -> dict[str, object]:
    """What can still be said of the old ledger: by itself, and by those who have seen it."""
    said: dict[str, object] = {}
    try:
        with reading(path) as connection:
            end, fields = head(connection), first_fields(connection)
            ledger = fields.get("ledger")
            said = {
                "origin": origin(str(ledger)) if ledger else None,
                "size": end.seq + 1,
                "head": end.hash.hex(),
                "lineage": fields.get("lineage", []),
            }
            key = named_key(connection)
            said["vkey"] = None if key is None else str(key)
    except (*BROKEN, SluiceError, NoteError, TypeError):
        said = dict(said)  # what was not read of it cannot be said
    said["seen"] = _seen(places, str(said.get("origin") or ""))
    return said


def _seen(places: Sequence[Place], name: str) -> list[object]:
    found: list[object] = []
    for shelf in shelves(places, name):
        if shelf.sizes:
            last = len(shelf.sizes) - 1
            seen = {"origin": name, "size": shelf.sizes[last], "root": shelf.root(last).hex()}
            found.append({"place": cut(shelf.place.name, 300), **seen})
        elif not name:
            found += [
                {"place": cut(shelf.place.name, 300), "origin": cut(other, 300), "size": size}
                for other, (size, _) in shelf.others.items()
            ]
    return found[:20]


def _private(key: Path, before: Fields, stamp: str) -> Ed25519PrivateKey:
    """The log's key if it is the old ledger's and can be read; else another one, the old put aside."""
    try:
        private = read_key(key)
        vkey = before.get("vkey")
        if type(vkey) is not str or Key.parse(vkey).public == private.public_key().public_bytes_raw():
            return private
    except (SluiceError, NoteError):
        pass
    if key.exists() or key.is_symlink():
        key.rename(beside(key, f".lost-{stamp}"))
    return make_key(key)


def _put_away(path: Path, stamp: str) -> Path | None:
    away = beside(path, f".lost-{stamp}")
    found = False
    for suffix in ("-journal", "-wal", ""):  # the ledger itself last: until then a start refuses
        old = beside(path, suffix) if suffix else path
        if suffix and old.is_file() and not old.stat().st_size:
            old.unlink()  # what a reader leaves: nothing is in it
        elif old.exists() or old.is_symlink():
            new = beside(away, suffix) if suffix else away
            if new.exists():
                raise fail(f"'{new}' is in the way", fix="move it away")
            old.rename(new)
            found = True
    beside(path, "-shm").unlink(missing_ok=True)
    sync_folder(path.parent)
    if away.exists():
        away.chmod(0o400)
    return away if found else None


def _lineage(before: dict[str, object], places: Sequence[Place], private: Ed25519PrivateKey) -> list[str]:
    """Every ledger that this one goes on from: those are no strangers at a witness."""
    public = private.public_key().public_bytes_raw()
    earlier = before.pop("lineage", [])
    named = [str(one) for one in earlier] if isinstance(earlier, list) else []
    if before.get("origin"):
        named.append(str(before["origin"]))
    for shelf in shelves(places, ""):
        named += signed_elsewhere(shelf, public)
    return list(dict.fromkeys(named))[-_LINEAGE:]
