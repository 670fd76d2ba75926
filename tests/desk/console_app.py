"""
A console over a desk in memory, steered from a test over a unix socket.

    console_app.py SOCKET        one JSON command a line in, one JSON answer a line out
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from memory_desk import MemoryDesk, hold_view

from proxy.console import run_console


async def obey(desk, reader, writer):
    while line := await reader.readline():
        command = json.loads(line)
        answer = None
        match command.pop("do"):
            case "open":
                desk.open(hold_view(command.pop("number"), **tuples(command)))
            case "many":
                for number in range(command["first"], command["last"] + 1):
                    desk.open(hold_view(number))
            case "settle":
                hold = next(id for id in desk.holds if id.startswith(command["id"]))
                desk.settle(hold, command["state"], command.get("cause", ""))
            case "status":
                desk.now(**tuples(command))
            case "calls":
                answer = [list(map(str, call[:4])) for call in desk.calls]
            case "slow":
                desk.gate = asyncio.Event()
            case "go":
                desk.gate.set()
            case "block":
                time.sleep(command["seconds"])
            case "say":
                print(
                    command["text"] * command.get("times", 1),
                    file=getattr(sys, command["stream"]),
                    flush=True,
                )
            case "end":
                desk.tell(None)
            case "break":
                desk.tell(RuntimeError("planted"))
        writer.write(json.dumps(answer).encode() + b"\n")


def tuples(command):
    show = {name: tuple(values) for name, values in command.pop("show", {}).items()}
    made = {name: tuple(value) if isinstance(value, list) else value for name, value in command.items()}
    return made | ({"show": show} if show else {})


async def main(path):
    desk = MemoryDesk()
    reader, writer = await asyncio.open_unix_connection(path)
    steering = asyncio.ensure_future(obey(desk, reader, writer))
    try:
        ending = await run_console(desk, title="sluice", clock=time.time)
        if out := os.environ.get("SLUICE_TEST_OUT"):
            Path(out).write_text(ending.value)
        else:
            print(f"ending: {ending.value}, answers: {len(desk.calls)}", flush=True)
    finally:
        steering.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
