"""
Policy files on disk: which ones there are, and their bytes. The only part of the room that reads.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from proxy.errors import Exit, Problem, SluiceError
from proxy.policy.cases import CASES
from proxy.policy.evaluate import Policy
from proxy.policy.load import load_texts
from proxy.policy.source import MAX_BYTES, Listing, Mistakes, Node, Scalar, Table, read

_HOLDS_CASES: Final = re.compile(rb"^cases *:", re.MULTILINE)
MAX_FILES: Final = 2_000


def load(paths: Sequence[Path]) -> Policy:
    """
    The policy of files and folders (every `*.yaml` below them, cases apart).

    Raises SluiceError with every problem of every file.
    """
    return load_texts(read_policies(paths))


def read_policies(paths: Sequence[Path]) -> dict[str, bytes]:
    """The policy files by name; at least one, each a regular file within the limit."""
    found = _below(paths)
    return _read([path for path in found if not path.name.endswith(CASES)], "policy", paths)


def read_cases(paths: Sequence[Path], *, required: bool = True) -> dict[str, bytes]:
    """
    The files that hold cases, by name; at least one where that is `required`.

    Case files that are named, in the folders, or beside a file that is named; and policy files
    with cases in them.
    """
    beside = [
        path.with_name(path.stem + CASES)
        for path in paths
        if path.is_file() and not path.name.endswith(CASES)
    ]
    found = _below([*paths, *(path for path in beside if path.is_file())])
    holding = [path for path in found if path.name.endswith(CASES) or _holds_cases(path)]
    # A policy without a case is a check that fails; a policy that is not there is wrong usage.
    return _read(holding, "case", paths, Exit.NO) if holding or required else {}


def _holds_cases(path: Path) -> bool:
    try:
        return _HOLDS_CASES.search(_bytes(path)) is not None
    except OSError:
        return False  # loading the policy says so


def _below(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*.y*ml") if not one.is_dir())
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _read(
    files: Sequence[Path], what: str, paths: Sequence[Path], without: Exit = Exit.WRONG
) -> dict[str, bytes]:
    """The files' bytes; where there is none, an error with the exit `without`."""
    if not files:
        names = ", ".join(map(str, paths)) or "nothing"
        raise SluiceError(
            Problem(f"no {what} file in {names}", "", f"name a folder with *.yaml files, or a {what} file"),
            exit=without,
        )
    problems: list[Problem] = []
    texts: dict[str, bytes] = {}
    if len(files) > MAX_FILES:
        problems.append(Problem(f"more than {MAX_FILES} {what} files", "", "put several rules into one file"))
    for path in files[:MAX_FILES]:
        try:
            texts[str(path)] = _bytes(path)
        except OSError as error:
            problems.append(
                Problem(
                    f"{path} cannot be read: {error.strerror or error}",
                    "",
                    "check the path and its permissions",
                )
            )
    if problems:
        raise SluiceError(*problems)
    return texts


def _bytes(path: Path) -> bytes:
    if path.suffix != ".yaml":
        raise OSError(0, "its name does not end in .yaml, so it would be left out of a folder")
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is no regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


type Stamp = tuple[tuple[str, int, int, int], ...]


def stamp(paths: Sequence[Path]) -> Stamp:
    """What tells that policy files have changed, without reading them; a missing file is a change."""
    stamps = []
    for path in _below(paths):
        try:
            found = path.stat()
        except OSError:
            continue
        stamps.append((str(path), found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamps)


def load_document(path: Path) -> object:
    """
    Another file in the policies' strict YAML (`reviewers.yaml`): mappings, lists and texts.

    Raises SluiceError with every mistake.
    """
    mistakes = Mistakes()
    (raw,) = _read([path], "YAML", [path]).values()
    node = read(str(path), raw, mistakes)
    if mistakes.problems or node is None:
        raise SluiceError(*mistakes.in_order())
    return _plain(node)


def _plain(node: Node) -> object:
    match node:
        case Scalar():
            return node.text
        case Listing():
            return [_plain(item) for item in node.items]
        case Table():
            return {key.text: _plain(value) for key, value in node.entries}
        case _:
            return None
