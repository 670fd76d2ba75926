"""Attacks on the gate's own process by others of its account."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

# A gate whose console says whether its process may be traced (PR_GET_DUMPABLE), and ends.
GATE = """
import asyncio, ctypes, sys
from pathlib import Path
from proxy.config import Config
from proxy.serve import run_console_or_wait
async def console(desk):
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
state = Path(sys.argv[1])
config = Config((state.parent / "policy.yaml",), "127.0.0.1", 0, state, state / "ledger.db")
asyncio.run(run_console_or_wait(config, console))
"""


async def test_no_agent_can_decide_by_looking_into_the_gate(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", GATE, str(tmp_path / "state")), stdout=-1, stderr=-1
    )
    out, said = await asyncio.wait_for(process.communicate(), 20)
    assert (out, process.returncode) == (b"0\n", 0), said
