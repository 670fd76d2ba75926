"""A console over two holds, one of them hostile; writes how it ended to the file named."""

import asyncio
import sys
import time
from pathlib import Path

from memory_desk import MemoryDesk, hold_view

from proxy.console import run_console


async def main(out):
    desk = MemoryDesk()
    text = "\x1b[1;1HFAKE\x1b]2;owned\x07\u202e请求😀👩‍👧❤️ שלום" * 5
    desk.open(hold_view(1, says=text, show={"form.a": (text,)}))
    desk.open(hold_view(2))
    ending = await run_console(desk, title="sluice", clock=time.time)
    Path(out).write_text(ending.value)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
