"""Dialling: a name is resolved, each address is judged, and exactly the judged ones are dialled."""

from __future__ import annotations

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

from proxy.gate.guard import Guard, Guarded

_TRY: Final = 10.0
"""Seconds for one address to answer."""
_AT_ONCE: Final = 4
"""Addresses of one name that are tried."""


class GuardedError(OSError):
    """Not dialled, because the guard says so."""

    def __init__(self, why: Guarded) -> None:
        super().__init__(why)
        self.why = why


class Dialler:
    """Opens connections to upstreams; `executor` resolves names."""

    def __init__(self, guard: Guard, executor: Executor) -> None:
        self._guard = guard
        self._executor = executor

    async def dial(self, address: tuple[str, int]) -> tuple[StreamReader, StreamWriter]:
        """A connection to a name and port; OSError (GuardedError) where there is none."""
        target = self._guard.resolve.get(address)
        host, port = target or address
        candidates = await self._resolve(host, port)
        refusals = [self._guard.refuses(ip, port, named=target is not None) for ip in candidates]
        allowed = [ip for ip, why in zip(candidates, refusals, strict=True) if why is None]
        if not allowed:
            raise GuardedError(next(why for why in refusals if why is not None))
        return await self._first(allowed[:_AT_ONCE], port)

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        except OSError:
            pass
        else:
            return [host]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._executor, _lookup, host, port)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "name not found")
        return found

    async def _first(self, addresses: Sequence[str], port: int) -> tuple[StreamReader, StreamWriter]:
        last: OSError | None = None
        for ip in addresses:
            try:
                async with asyncio.timeout(_TRY):
                    return await asyncio.open_connection(ip, port)
            except OSError as error:  # TimeoutError is one
                last = error
        raise last or OSError("no address")

    def explain(self, error: OSError) -> str:
        """Why there is no connection, without addresses (those are no business of the agent's)."""
        match error:
            case GuardedError():
                return error.why
            case socket.gaierror():
                return "the name cannot be resolved"
            case TimeoutError():
                return "upstream does not answer"
            case ConnectionRefusedError():
                return "upstream refuses the connection"
            case _:
                return "upstream cannot be reached"


def _lookup(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
