"""
The signed reviews of one hold as files, for whoever checks them with OpenSSH alone.

    NAME.json         the statement, byte for byte as it was signed
    NAME.json.sig     the signature (PROTOCOL.sshsig)
    allowed_signers   the keys that were enrolled, and from when to when (ssh-keygen(1))
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.chain import moment, stamp
from proxy.errors import Exit, fail
from proxy.ledger import Fields
from proxy.ledger.enrolled import roll_in
from proxy.ledger.read import Filter, entries, reading
from proxy.ledger.roll import KINDS, proof_of
from proxy.signing import ProofError
from proxy.signing.sshsig import NAMESPACE
from proxy.signing.statement import Proof, Statement

ALLOWED: Final = "allowed_signers"
_REVIEWS: Final = Filter(kinds=frozenset({"reviewed"}))
_ROLL: Final = Filter(kinds=KINDS)


@dataclass(frozen=True, slots=True)
class Exported:
    """One review that was written out: whose, its file, and the command that checks it in its folder."""

    reviewer: str
    file: Path
    command: str


def export_reviews(ledger: Path, prefix: str, folder: Path) -> tuple[Exported, ...]:
    """
    Write the signed reviews of a hold into a new folder; `prefix` is any unique prefix of its id.

    Raises SluiceError where there are none, where the ledger does not say for certain whose keys
    count, or the folder is there already.
    """
    with reading(ledger) as connection:
        roll_in(connection)  # whoever forged an enrolment would be a signer here
        proofs = _proofs(connection, prefix)
        signers = _signers(connection)
    try:
        folder.mkdir(mode=0o700, parents=True)
        (folder / ALLOWED).write_text(signers, encoding="ascii")
        return tuple(_written(folder, number, proof) for number, proof in enumerate(proofs))
    except OSError as error:
        raise fail(
            f"'{folder}' cannot be made: {error.strerror}", fix="name a folder that is not there"
        ) from None


def _proofs(connection: sqlite3.Connection, prefix: str) -> list[Proof]:
    found: dict[str, list[Fields]] = {}
    for _, fields in entries(connection, _REVIEWS):
        hold = str(fields.get("hold"))
        if prefix and hold.startswith(prefix):
            found.setdefault(hold, []).append(fields)
    if len(found) != 1:
        what = f"{len(found)} holds that begin with '{prefix}' were answered"
        raise fail(what, fix="sluice ledger show --kind reviewed", exit=Exit.NO)
    [reviews] = found.values()
    signed = [proof_of(fields) for fields in reviews if "signature" in fields]
    if not signed:
        what = "nobody signed an answer to this hold: nobody was enrolled then"
        raise fail(what, fix="sluice ledger show", exit=Exit.NO)
    return signed


def _signers(connection: sqlite3.Connection) -> str:
    """Every key that was ever enrolled, for the time in which it counted."""
    since: dict[str, tuple[str, str]] = {}
    until: dict[str, str] = {}
    for one in roll_in(connection, 1).people.values():  # as a pruning has kept it, of any time before
        since |= {key.line: (one.name, "") for key in one.keys}
    for _, fields in entries(connection, _ROLL):
        kind, key, time = fields.get("kind"), str(fields.get("key")), _compact(str(fields.get("time")))
        if kind in ("enrolled", "rotated_key"):
            since[key] = (str(fields.get("reviewer")), time)
        if kind == "rotated_key":
            until[str(fields.get("old"))] = _after(fields)
        if kind == "revoked_key":
            until[key] = _after(fields)
    return "".join(
        f"{name} {','.join(_limits(after, until.get(key)))} {key}\n" for key, (name, after) in since.items()
    )


def _limits(after: str, before: str | None) -> list[str]:
    """What a key may be used for, and when."""
    limits = [f'namespaces="{NAMESPACE}"']
    if after:
        limits.append(f'valid-after="{after}"')
    return limits if before is None else [*limits, f'valid-before="{before}"']


def _after(fields: Fields) -> str:
    """The second after an entry: OpenSSH counts whole ones, and what was signed just before still holds."""
    return _compact(stamp((moment(fields.get("time")) or 0) + 1_000_000))


def _compact(time: str) -> str:
    """A `chain.stamp` as OpenSSH writes times."""
    return "".join(one for one in time[:19] if one.isdigit()) + "Z"


def _written(folder: Path, number: int, proof: Proof) -> Exported:
    try:
        statement = Statement.parse(proof.statement.encode())
    except ProofError as error:
        raise fail(f"a review cannot be read: {error}", fix="sluice ledger verify", exit=Exit.NO) from None
    name = statement.reviewer if number == 0 else f"{statement.reviewer}-{number + 1}"
    file = folder / f"{name}.json"
    file.write_bytes(statement.data)
    signature = file.with_name(f"{file.name}.sig")
    signature.write_text(proof.signature, encoding="ascii")
    at = _compact(stamp(statement.moment))
    command = (
        f"ssh-keygen -Y verify -O verify-time={at} -f {ALLOWED} -I {statement.reviewer} "
        f"-n {NAMESPACE} -s {signature.name} < {file.name}"
    )
    return Exported(statement.reviewer, file, command)
