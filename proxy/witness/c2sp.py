"""
A C2SP witness (c2sp.org/tlog-witness): it remembers the newest head, and signs only one that goes on from it.

What it has signed is kept in a file beside the ledger, so that anyone can verify it offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from proxy.errors import Problem
from proxy.ledger.anchors import Place
from proxy.ledger.seal import Seal
from proxy.merkle import Tree, extension
from proxy.note import COSIGNED, Key, NoteError, encode64, open_note
from proxy.witness import RefusedError
from proxy.witness.files import FileWitness
from proxy.witness.http import Answer, Endpoint

_SIZE_TYPE: Final = "text/x.tlog.size"

type Trees = Callable[[int], Tree]
"""The tree over the first N entries of the ledger."""
type Leaves = Callable[[int, int], Iterable[bytes]]
"""The hashes of the entries from one number up to and without another."""


class CosigningWitness:
    """Submits heads, each with the proof that it goes on from the one the witness knows."""

    every: float = 10.0
    renew: float = 600.0

    def __init__(self, url: str, key: Key, kept: FileWitness, trees: Trees, leaves: Leaves) -> None:
        self._endpoint = Endpoint(url)
        self._key = key
        self._kept = kept
        self._trees = trees
        self._leaves = leaves
        self._known: Tree | None = None
        self.name = f"c2sp:{key.name}"
        self.place: Place | None = kept.place

    def send(self, seals: Sequence[Seal]) -> None:
        """See `Witness.send`. Only the newest is sent: it covers the others."""
        seal = seals[-1]
        known = Tree() if self._known is None else self._known
        answer = self._submit(seal, known)
        if answer.status == 409:
            known = self._remembered(answer, seal)
            answer = self._submit(seal, known)
        if answer.status != 200:
            meaning = _MEANINGS.get(answer.status)
            raise RefusedError(Problem(f"it answered {answer.status}" + (f": {meaning}" if meaning else "")))
        self._kept.append([self._cosigned(seal, answer)])
        self._known = seal.tree

    def _submit(self, seal: Seal, known: Tree) -> Answer:
        size, proof = seal.tree.size, []
        if 0 < known.size < size:
            proof = extension(known, size, self._leaves(known.size, size))
        lines = [f"old {known.size}", *map(encode64, proof)]
        return self._endpoint.post("\n".join(lines).encode() + b"\n\n" + seal.note, "/add-checkpoint")

    def _remembered(self, answer: Answer, seal: Seal) -> Tree:
        """The tree that the witness knows: what it says of its size must be possible."""
        size = answer.body.strip()
        if answer.media != _SIZE_TYPE or not size.isdigit() or len(size) > 18:
            raise RefusedError(Problem("it knows another history of this ledger", "its root is another"))
        if int(size) > seal.tree.size:
            raise RefusedError(
                Problem(
                    f"it has seen {int(size)} entries, and the ledger has {seal.tree.size}",
                    "entries were cut off, or an older copy was put back",
                )
            )
        return self._trees(int(size))

    def _cosigned(self, seal: Seal, answer: Answer) -> bytes:
        """The note with the witness's signature, once that holds; other lines are left out."""
        for line in answer.body.splitlines(keepends=True)[:16]:
            try:
                opened = open_note(seal.note + line, [self._key])
            except NoteError:
                continue
            if opened.time is not None and self._key.kind == COSIGNED:
                return seal.note + line
        raise RefusedError(Problem("its answer has no signature by the key that was named for it"))


_MEANINGS: Final = {
    403: "it does not trust the key of this ledger",
    404: "it does not know this ledger: give it the ledger's vkey",
    409: "it knows another history of this ledger",
    422: "it does not take the proof that the head goes on from the one it knows",
}
