"""An agent that vanishes without a word: no FIN, no RST, no packets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest

from .conftest import Open, SmallDoor, Upstream, get


async def test_the_kernel_looks_after_agents_that_say_nothing(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/hold"))
    await door.until(lambda: door.waiting)
    connection = next(iter(gate.gate._connections))
    sock = connection._transports[connection._client].writer.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    probes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * sock.getsockopt(
        socket.IPPROTO_TCP, socket.TCP_KEEPCNT
    )
    assert idle + probes <= 30
    agent.close()


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or "SLUICE_SLOW" not in os.environ,
    reason="needs root, network namespaces and 30 s (SLUICE_SLOW=1)",
)
async def test_an_agent_whose_link_goes_down_ends_its_hold(open_gate: Open, door: SmallDoor) -> None:
    name = f"sl{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", "10.213.7.1/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", "10.213.7.2/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        gate = await open_gate(host="10.213.7.1", check_uid=False)
        raw = get(80, "/hold", host="api.test")
        send = f"s = socket.create_connection(('10.213.7.1', {gate.port})); s.sendall({raw!r})"
        code = f"import socket, time; {send}; time.sleep(60)"
        agent = subprocess.Popen(["ip", "netns", "exec", name, "python3", "-c", code])
        try:
            await door.until(lambda: door.waiting)
            ip("-n", name, "link", "set", "eth0", "down")
            for _ in range(4):
                try:
                    await door.until(lambda: "abandoned" in door.words)
                    break
                except TimeoutError:
                    continue
            assert door.words == ["abandoned"]
        finally:
            agent.kill()
            agent.wait()
    finally:
        ip("netns", "del", name)
