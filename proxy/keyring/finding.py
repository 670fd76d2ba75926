"""Which key a reviewer signs with: one in the own folder that is enrolled for the own account."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from proxy.keyring import Ask, Signer
from proxy.keyring.files import KeyFile, Keys
from proxy.keyring.opening import opened
from proxy.linux.tree import refuse_tracing
from proxy.signing import ProofError
from proxy.signing.publickey import PublicKey
from proxy.wire import Enrollee, RollView

FOLDER: Final = "keys"


def keys_of(enrolled: Enrollee) -> tuple[PublicKey, ...]:
    """The keys in force of one reviewer; those of a kind that is not known here are left out."""
    found = []
    for line in enrolled.keys:
        with contextlib.suppress(ProofError):
            found.append(PublicKey.of_line(line))
    return tuple(found)


def own(roll: RollView, uid: int, name: str | None, keys: Keys) -> tuple[Enrollee, KeyFile] | None:
    """The reviewer that an account can sign as, and with what; by name, or the first one."""
    for enrolled in roll.reviewers:
        if enrolled.uid == uid and name in (None, enrolled.name):
            file = keys.find(keys_of(enrolled))
            if file is not None:
                return enrolled, file
    return None


def finder(
    uid: int,
    name: str | None,
    keys: Keys,
    ask: Ask,
    environment: Mapping[str, str],
    say: Callable[[str], None] = lambda said: None,
) -> Callable[[RollView], Signer | None]:
    """
    Finds and opens the key of an account, asking for its passphrase, or saying that it has to be touched.

    From then on nobody may look into this process: the key is in it.
    """

    def find(roll: RollView) -> Signer | None:
        found = own(roll, uid, name, keys)
        if found is None:
            return None
        refuse_tracing()
        if found[1].public.is_touched:
            say(f"{found[0].name} signs with the security key {found[1].public.id}: touch it when it blinks")
        return opened(found[0].name, found[1], ask, environment)

    return find


async def apart[T](ask: Callable[[], T]) -> T:
    """
    Ask a person in a thread, while everything else goes on.

    Whoever stops waiting stops: a person may never answer, and the thread ends with the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def answered(result: T) -> None:
        if not done.done():
            done.set_result(result)

    def failed(error: Exception) -> None:
        if not done.done():
            done.set_exception(error)

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                result = ask()
            except Exception as error:
                loop.call_soon_threadsafe(failed, error)
            else:
                loop.call_soon_threadsafe(answered, result)

    threading.Thread(target=run, daemon=True, name="passphrase").start()
    return await done


@contextlib.contextmanager
def terminal_as_it_was() -> Iterator[None]:
    """Give the terminal back as it was, also where somebody stopped in the middle of a passphrase."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        modes = termios.tcgetattr(terminal)
    except (OSError, termios.error):
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(terminal, termios.TCSANOW, modes)
        os.close(terminal)
