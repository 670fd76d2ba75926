"""
Checks of the path: agent, gate, upstream, with every end here.

A gate of our own and a TLS server on loopback stand for the real ones. Its name is no real
one, so that only what went through the gate can arrive. Each tool runs as an agent would run
it, with the account's own settings.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.childenv import child_environment, write_bundle
from proxy.childgate import Ready, start_gate
from proxy.demo.authority import Authority
from proxy.demo.upstream import Answer, Arrival, Upstream
from proxy.doctor.check import Check, failed, note, ok, wrong
from proxy.errors import SluiceError
from proxy.render.text import visible

HOST: Final = "doctor.sluice.invalid"

_WITHIN: Final = 20.0  # seconds for one tool
_POLICY: Final = f"""\
version: 1
default: {{read: allow, write: hold, new_host: allow}}
rules:
  - name: doctor-waits
    why: Nobody answers the doctor.
    match: {{host: {HOST}, method: DELETE}}
    then: hold
    hold: {{timeout: 1s}}
"""

# What a git server says that has one branch and speaks plain HTTP files (gitprotocol-http(5)).
_REFS: Final = b"4b825dc642cb6eb9a060e54bf8d69288fbee4904\trefs/heads/main\n"


@dataclass(frozen=True, slots=True)
class Tool:
    """
    A client that an agent may use: how to ask for `https://HOST/NAME`, and what helps.

    `too_old` looks at what ``--version`` says and tells what is wrong with it, if anything.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    untrusting: str
    passing_by: str
    too_old: Callable[[str], str] = lambda said: ""


def _node_too_old(said: str) -> str:
    found = re.match(r"v(\d+)\.(\d+)\.", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    # NODE_USE_ENV_PROXY for fetch, http and https: Node 22.21, 24.5 and later, not 23.
    if version >= (24, 5) or (22, 21) <= version < (23, 0):
        return ""
    return f"Node {said.strip()} ignores HTTP_PROXY, in fetch as in http and https"


_URL: Final = f"https://{HOST}"
TOOLS: Final = (
    Tool(
        "curl",
        "curl",
        ("--silent", "--show-error", "--fail", "--max-time", "15", f"{_URL}/curl"),
        "look for cacert, capath or a proxy in ~/.curlrc; some builds of curl use a store of their own",
        "look for noproxy or proxy in ~/.curlrc",
    ),
    Tool(
        "Python",
        "python3",
        ("-c", f"import urllib.request as r; print(r.urlopen('{_URL}/python3', timeout=15).read().decode())"),
        "its OpenSSL does not read SSL_CERT_FILE: name the bundle in the program itself",
        "look for a sitecustomize or a program that sets its own proxies",
    ),
    Tool(
        "Node",
        "node",
        ("-e", f"fetch('{_URL}/node').then(r => r.text()).then(console.log)"),
        "it does not read NODE_EXTRA_CA_CERTS: is it setuid, or started with --use-openssl-ca?",
        "see that nothing unsets NODE_USE_ENV_PROXY",
        _node_too_old,
    ),
    Tool(
        "git",
        "git",
        ("ls-remote", f"{_URL}/git"),
        "see what overrules GIT_SSL_CAINFO: git config --show-origin --get-regexp '^http.*ssl'",
        "see what overrules HTTPS_PROXY: git config --show-origin --get-regexp '^http.*proxy'",
    ),
)


def answer(arrival: Arrival) -> Answer:
    """The upstream of this check: it greets, and is a git server where git asks."""
    if arrival.path == "/git/info/refs":
        return Answer(200, _REFS, "text/plain")
    return Answer(200, b"well\n", "text/plain")


def path(environment: Mapping[str, str]) -> Iterator[Check]:
    """
    Everything from a tool to the upstream and back, then a request that has to wait.

    `environment` is what the agent would start with.
    """
    authority = Authority.make()
    with (
        tempfile.TemporaryDirectory(prefix="sluice-doctor-") as folder,
        Upstream(authority, [HOST], answer) as upstream,
    ):
        state = Path(folder, "state")
        try:
            gate = start_gate(state, _flags(Path(folder), authority, upstream), environment=environment)
        except SluiceError as error:
            yield failed("path", error)
            return
        with gate:
            upstream.serve()
            yield held(gate.ready, upstream)
            child = child_environment(
                environment,
                proxy=gate.ready.proxy,
                ca=gate.ready.ca,
                bundle=write_bundle(state, gate.ready.ca),
            )
            child["GIT_TERMINAL_PROMPT"] = "0"
            yield from (look(tool, child, upstream, Path(folder)) for tool in TOOLS)


def _flags(folder: Path, authority: Authority, upstream: Upstream) -> list[str]:
    ca, policy = folder / "upstream.pem", folder / "policy.yaml"
    ca.write_bytes(authority.certificate)
    policy.write_text(_POLICY)
    flags = ["--listen=127.0.0.1:0", f"--policy={policy}", f"--upstream-ca={ca}"]
    return flags + upstream.resolve_flags()


def held(ready: Ready, upstream: Upstream) -> Check:
    """A request that needs a person waits, is refused when nobody answers, and never arrives."""
    name = "hold"
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": ready.proxy}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ready.ca))),
    )
    request = urllib.request.Request(f"{_URL}/hold", method="DELETE")  # noqa: S310 - https, ours
    try:
        with opener.open(request, timeout=_WITHIN) as response:
            told = f"it was let through with status {response.status}"
    except urllib.error.HTTPError as error:
        told = error.headers.get("sluice-decision") or f"status {error.code}"
        error.close()
    except OSError as error:
        told = f"no answer: {error}"
    arrived = any(arrival.path == "/hold" for arrival in upstream.arrivals)
    if told != "expired" or arrived:
        what = f"a request that nobody answered ended otherwise: {told}"
        return wrong(name, what + ("; it arrived" if arrived else ""), "silence must refuse", "report this")
    return ok(name, "a request that nobody answers is refused, and never arrives")


def look(tool: Tool, environment: Mapping[str, str], upstream: Upstream, folder: Path) -> Check:
    """Whether one tool goes through the gate and trusts its CA."""
    program = shutil.which(tool.command, path=environment.get("PATH"))
    if program is None:
        return note(tool.name, "not installed; nothing to check")
    status, version = _run([program, "--version"], environment, folder)
    if status == 0 and (old := tool.too_old(version)):
        why = "its requests go around the gate, unseen"
        return wrong(tool.name, old, why, "use Node 22.21 or later of 22, or 24.5 or later")
    status, said = _run([program, *tool.arguments], environment, folder)
    arrived = any(arrival.path.startswith(f"/{tool.command}") for arrival in upstream.arrivals)
    if status == 0 and arrived:
        return ok(tool.name, f"goes through the gate and trusts its CA ({_first(version)})")
    if re.search(r"certificate|self.signed|SSL|TLS|issuer", said):
        return wrong(tool.name, f"does not trust the gate's CA: {_last(said)}", fix=tool.untrusting)
    if not arrived:
        why = "its requests go around the gate, unseen"
        return wrong(tool.name, f"does not use the proxy: {_last(said)}", why, tool.passing_by)
    return wrong(tool.name, f"got an answer that it does not take: {_last(said)}", fix="report this")


def _run(command: list[str], environment: Mapping[str, str], folder: Path) -> tuple[int | None, str]:
    """Exit status (None: too slow) and what was said, on stdout or else on stderr."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=folder,  # a repository around us has settings that are not the agent's
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_WITHIN:.0f} s"
    except OSError as error:
        return None, os.strerror(error.errno or 0)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).decode(errors="replace")


def _first(said: str) -> str:
    return visible(said.strip().partition("\n")[0][:60])


def _last(said: str) -> str:
    """One line of it for people: the one that names an error, else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"error|fatal|cause", line, re.IGNORECASE)]
    return visible((named or lines or ["it said nothing"])[-1][:200])
