"""The house's own rules: imports run downhill, pure rooms stay pure, each library has one door."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROXY = ROOT / "proxy"

# Rooms from the ground up: a room may import from its own floor or from lower ones.
FLOORS = (
    {"errors"},
    {"linux"},
    {"action", "policy.verdict"},
    {"canon", "chain", "merkle", "note", "redact", "decision"},
    {"signing"},
    {"decode"},
    {"policy", "people", "hold", "budget", "ledger", "grant", "awsmodels", "edit"},
    {"wire", "reviewers", "records", "replay", "changes", "state", "config", "about", "report", "differs"},
    {"render", "approvals", "witness"},
    {"admission", "reload", "enrolment"},
    {"desk", "granted", "gate", "control", "editor", "keyring"},
    {"correct"},
    {"console"},
    {"serve", "paths", "evidence", "known"},
    {"childenv", "childgate", "command", "run", "doctor", "demo"},
    {"cli"},
    {"__main__"},
)

PURE = {
    "errors",
    "action",
    "budget",
    "decision",
    "grant",
    "hold",
    "people",
    "policy.verdict",
    "policy.evaluate",
    "decode",
    "edit",
    "canon",
    "chain",
    "merkle",
    "note",
    "signing",
    "ledger.roll",
    "redact",
    "wire",
    "render",
    "records",
    "replay",
    "changes",
    "reviewers",
    "gate.keepalive",
    "about",
    "report",
}
IMPURE_MODULES = {
    "os",
    "socket",
    "asyncio",
    "time",
    "random",
    "secrets",
    "logging",
    "threading",
    "subprocess",
    "sqlite3",
    "aiosqlite",
    "select",
    "signal",
    "tempfile",
    "shutil",
}

# Each library is imported in these rooms and in no other.
DOORS = {
    "mitmproxy": {"gate"},
    "sqlite3": {"ledger"},
    "aiosqlite": {"ledger"},
    "rich": {"render", "console"},
    "yaml": {"policy"},
    "re2": {"policy"},
    "brotli": {"decode"},
    "zstandard": {"decode"},
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PROXY.rglob("*.py")):
        parts = path.relative_to(PROXY).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        yield ".".join(parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            if node.module == "proxy" or node.module.startswith("proxy."):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(module: str) -> int | None:
    """The floor of the longest room name that the module's begins with."""
    best: tuple[int, int] | None = None
    for number, rooms in enumerate(FLOORS):
        for room in rooms:
            if (module == room or module.startswith(f"{room}.")) and (best is None or len(room) > best[1]):
                best = (number, len(room))
    return None if best is None else best[0]


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: str(value)[-40:])
def test_imports_run_downhill(module: str, path: Path) -> None:
    if not module:
        return
    mine = floor(module)
    assert mine is not None, f"the room {module} has no floor"
    for name in imports(path):
        if not name.startswith("proxy."):
            continue
        theirs = floor(name.removeprefix("proxy."))
        same_room = room(name.removeprefix("proxy.")) == room(module)
        if theirs is not None and not same_room:
            assert theirs <= mine, f"{module} imports {name}, which is above it"


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_room_knows_no_files_sockets_clocks_or_tasks(name: str) -> None:
    for module, path in modules():
        if module == name or module.startswith(f"{name}."):
            touched = {found.split(".")[0] for found in imports(path)} & IMPURE_MODULES
            assert not touched, f"{module} imports {touched}"


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_has_one_door(library: str) -> None:
    for module, path in modules():
        if any(found.split(".")[0] == library for found in imports(path)):
            assert room(module) in DOORS[library], f"{module} imports {library}"


def test_nothing_at_module_level_changes() -> None:
    for module, path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Global):
                raise AssertionError(module)
        assert "\n    global " not in path.read_text(), f"{module} changes module-level state"


def test_no_room_has_a_name_that_says_nothing() -> None:
    empty = {"manager", "handler", "service", "helper", "helpers", "utils", "util", "common", "base", "misc"}
    for module, _ in modules():
        assert not empty & set(module.split("."))


def test_the_sources_name_no_machine_or_registry() -> None:
    # Written in halves, so that this file does not find itself.
    words = ("/wo" + "rk/", "pypi" + ".org", "files.python" + "hosted", "npmjs" + ".org", "deb.deb" + "ian")
    for path in [
        *ROOT.rglob("*.py"),
        *ROOT.rglob("*.md"),
        *ROOT.rglob("*.yaml"),
        *ROOT.glob("requirements*"),
    ]:
        if any(part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for word in words:
            assert word not in text, f"{path.relative_to(ROOT)} names {word}"
