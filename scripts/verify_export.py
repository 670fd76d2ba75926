#!/usr/bin/env python3
"""
Verifies an exported ledger by itself: Python 3.9 or newer, nothing else, nothing of Sluice.

    verify_export.py EXPORT.jsonl [--note CHECKPOINT --key VKEY]

What is checked (docs/ledger.md says more):
1. Each line is an entry: canonical JSON, number `seq`, and `prev` is the hash of the line before,
   SHA-256(0x00 || line without its line feed); the first has 64 zeros.
2. A run left out is a line of hashes; the chain closes over it. Entries that were pruned, as an
   entry says, are one line with the hash of the last of them and the frontier of the tree over them.
3. The last line names how many entries there are, the hash of the last one, and its own hash.
4. With --note: the root of the tree over the first entries (RFC 6962) is the one in the
   checkpoint, and with --key the log's key has signed it (Ed25519, RFC 8032, below, slow and
   plain). The key must have been known before: one from the export itself proves nothing.
Not checked: what the entries mean, and reviewers' signatures: `jq -j .statement` and `jq -r .signature`
of a line are files for ssh-keygen -Y verify. Exit 0: all of it holds. 1: it does not. 2: unreadable.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

LINE = 1 << 31  # a run that was left out is one line, however long
PRUNED = ("before", "frontier", "genesis", "head")


class Wrong(Exception):
    """Something does not hold."""


def canonical(value):
    """RFC 8785 for what an entry may hold: no floats, so sorted keys and no spaces are all of it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def no_float(text):
    raise Wrong(f"{text} is no plain integer")


def parse(line):
    """What a line says, if these are the very bytes that say it."""
    try:
        value = json.loads(line.decode(), parse_float=no_float, parse_constant=no_float)
        if not isinstance(value, dict) or canonical(value) != line:
            raise Wrong("it is not written in the canonical way")
    except (ValueError, RecursionError) as error:
        raise Wrong(f"it cannot be read: {error}") from None
    return value


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class Chain:
    """The chain and the tree, line by line."""

    def __init__(self, wanted):
        self.size, self.head, self.peaks = 0, bytes(32), []
        self.wanted, self.root, self.said, self.begun = wanted, None, [], None
        self.omitted = self.pruned = self.signed = 0

    def add(self, hashed):
        """Go on by the hash of one entry."""
        size, peak = self.size, hashed
        while size & 1:
            peak, size = sha256(b"\1", self.peaks.pop(), peak), size >> 1
        self.peaks.append(peak)
        self.size, self.head = self.size + 1, hashed
        self.look()

    def look(self):
        """Keep the root at the size that the checkpoint is of."""
        if self.size == self.wanted:
            root = self.peaks[-1]
            for peak in reversed(self.peaks[:-1]):
                root = sha256(b"\1", peak, root)
            self.root = root

    def entry(self, line, fields):
        if fields.get("seq") != self.size or isinstance(fields.get("seq"), bool):
            raise Wrong(f"it should be entry {self.size}")
        if fields.get("prev") != self.head.hex():
            raise Wrong("it does not follow the entry before it")
        if (fields.get("kind") == "genesis") != (self.size == 0):
            raise Wrong("the genesis is the first entry, and no other is one")
        self.signed += "signature" in fields
        if fields.get("kind") == "pruned":
            self.said.append([fields.get(name) for name in PRUNED])
        self.add(sha256(b"\0", line))

    def skip(self, hashes):
        """A run that is left out: only the hashes are there."""
        if not self.size or not isinstance(hashes, list) or not hashes:
            raise Wrong("the list of what is left out is not as it must be")
        for one in hashes:
            self.add(from_hex(one))
        self.omitted += len(hashes)

    def begin_again(self, fields):
        """After entries that were pruned."""
        before, frontier = fields.get("before"), fields.get("frontier")
        if self.size != 1 or from_hex(fields.get("genesis")) != self.head or not isinstance(frontier, list):
            raise Wrong("this is not the genesis of the ledger that was pruned")
        odd = set(fields) != {*PRUNED, "kind"} or type(before) is not int or before < 1
        if odd or bin(before).count("1") != len(frontier):
            raise Wrong("the line about what was pruned is not as it must be")
        self.begun = [fields[name] for name in PRUNED]
        self.size, self.head = before, from_hex(fields.get("head"))
        self.peaks, self.pruned = [from_hex(one) for one in frontier], before - 1
        self.look()


def from_hex(text):
    if not isinstance(text, str) or len(text) != 64 or text.strip("0123456789abcdef"):
        raise Wrong("something that should be a hash is none")
    return bytes.fromhex(text)


def check_end(fields, chain):
    if set(fields) != {"count", "filters", "head", "kind", "self"}:
        raise Wrong("the last line does not have the fields that it should have")
    if fields["self"] != hashlib.sha256(canonical({**fields, "self": ""})).hexdigest():
        raise Wrong("the last line was changed")
    if fields["count"] != chain.size or fields["head"] != chain.head.hex():
        raise Wrong(f"the last line names {fields['count']} entries and another head than is there")
    if chain.omitted and not fields["filters"]:
        raise Wrong("entries are left out, and the last line names no filter")
    if chain.pruned and chain.begun not in chain.said and not fields["filters"]:
        raise Wrong("entries are missing, and no entry says that these were pruned")


def verify(file, chain):
    """Take every line; Wrong names the first that does not hold."""
    ended, number = False, 0
    for number, raw in enumerate(iter(lambda: file.readline(LINE), b""), 1):
        try:
            if ended:
                raise Wrong("there are lines after the last one")
            if not raw.endswith(b"\n"):
                raise Wrong("it has no end")
            fields = parse(raw[:-1])
            if fields.get("kind") == "exported":
                check_end(fields, chain)
                ended = True
            elif fields.get("kind") != "omitted":
                chain.entry(raw[:-1], fields)
            elif set(fields) == {"hashes", "kind"}:
                chain.skip(fields["hashes"])
            else:
                chain.begin_again(fields)
        except Wrong as error:
            raise Wrong(f"line {number}: {error}") from None
    if not ended:
        raise Wrong(f"after line {number}: the line that says where the export ends is missing")


# -- the checkpoint: C2SP signed-note and tlog-checkpoint


def decode64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise Wrong("what should be base64 is not, or is written in another way")
    return data


def read_note(data):
    """Origin, size, root, the text that is signed, and the signatures as (name, bytes)."""
    try:
        text, gap, signed = data.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise Wrong("the checkpoint is not UTF-8") from None
    lines = text.split("\n")
    if not gap or len(lines) != 3 or not signed.endswith("\n") or str(int_of(lines[1])) != lines[1]:
        raise Wrong("the checkpoint is none: origin, size, root, an empty line and signatures are one")
    signatures = []
    for line in signed[:-1].split("\n"):
        dash, name, value = [*line.split(" ", 2), "", ""][:3]
        if dash != "\u2014" or not name:
            raise Wrong("a line of the checkpoint that should be a signature is none")
        signatures.append((name, decode64(value)))
    return lines[0], int(lines[1]), decode64(lines[2]), (text + "\n").encode(), signatures


def int_of(text):
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def check_signature(note, vkey):
    """The log's key, name+id+base64, has signed the text."""
    origin, _, _, text, signatures = note
    name, id_, value = [*vkey.split("+", 2), "", ""][:3]
    key = decode64(value)
    expected = sha256(name.encode(), b"\n", key)[:4]
    if len(key) != 33 or key[0] != 1 or expected.hex() != id_:
        raise Wrong("the key was mistyped, or is no Ed25519 key of a log")
    if name != origin:
        raise Wrong(f"the key is the one of {name}, the checkpoint is of {origin}")
    mine = [one[4:] for signer, one in signatures if signer == name and one[:4] == expected]
    if not mine or not all(ed25519(key[1:], text, one) for one in mine):
        raise Wrong("the key has not signed this checkpoint")


# -- Ed25519, RFC 8032, section 5.1.7, in affine coordinates

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(one, two):
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P


def times(number, point):
    result = (0, 1)
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def point_of(data):
    """The point that 32 bytes name; None where they name none."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x), y


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(public, message, signature):
    """Whether the signature holds."""
    key, point = point_of(public), point_of(signature[:32])
    number = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or key is None or point is None or number >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return times(number, BASE) == add(point, times(challenge, key))


def main():
    parser = argparse.ArgumentParser(description="Verify an exported ledger.")
    parser.add_argument("export", help="the jsonl that `sluice ledger export` wrote")
    parser.add_argument("--note", help="a checkpoint that was kept elsewhere")
    parser.add_argument("--key", help="the log's key, as it was known before: name+id+base64")
    given = parser.parse_args()
    if given.key and not given.note:
        parser.error("--key is for a checkpoint: name its file with --note")
    try:
        note = read_note(Path(given.note).read_bytes()) if given.note else None
        chain = Chain(note[1] if note else None)
        with open(given.export, "rb") as file:
            verify(file, chain)
        if given.key:
            check_signature(note, given.key)
        if note and chain.root != note[2]:
            raise Wrong(f"entries were cut off or changed: the checkpoint is of {note[1]}, and not of these")
    except OSError as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    except Wrong as error:
        print(f"WRONG: {error}")
        return 1
    print(f"{chain.size} entries, head {chain.head.hex()}: every link holds")
    print(f"{chain.signed} carry a reviewer's signature, for ssh-keygen -Y verify -n review@sluice to check")
    if chain.omitted or chain.pruned:
        print(f"{chain.omitted} of them are left out, {chain.pruned} were pruned: nothing is said of those")
    if note is None:
        print("nothing shows that no newer entries were cut off, or all was not written anew: see --note")
    else:
        signed = "signed by that key" if given.key else "whose signature was NOT checked (--key)"
        print(f"the first {note[1]} are those of the checkpoint, {signed}; newer ones could still be cut off")
    return 0


if __name__ == "__main__":
    sys.exit(main())
