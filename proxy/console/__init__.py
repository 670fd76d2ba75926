"""
The reviewer's console: a full-screen terminal over any `Desk`.

Each turn reads what was typed, lets it act on the frame that was on the screen, and then
draws the next one. Nothing here decides: it asks the desk, and shows what the desk says.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Final

from proxy.console.aside import Aside
from proxy.console.frame import frame
from proxy.console.keys import Keys
from proxy.console.scene import Mode, Scene
from proxy.console.terminal import Terminal
from proxy.errors import SluiceError
from proxy.render import time_left
from proxy.wire import Call, Desk, HoldView, Offer, Snapshot, Status, Verb

_TICK: Final = 1.0
_BREATH: Final = 0.02
_ESCAPE: Final = 0.05
_LAST_ANSWER: Final = 3.0


class Ending(Enum):
    """Why the console ended; what that means for the gate is the caller's to say."""

    QUIT = "quit"
    GONE = "gone"
    TERMINATED = "terminated"
    CLOSED = "closed"


type Edit = Callable[[Desk, str], Awaitable[HoldView | None]]
"""Lets a person edit a hold, given its id, in the terminal that is theirs for as long as it runs."""


async def run_console(
    desk: Desk,
    *,
    title: str,
    clock: Callable[[], float],
    fd: int = 0,
    edit: Edit | None = None,
    stops: bool = False,
) -> Ending:
    """
    Show the desk on the terminal `fd` until the reviewer quits, and say why it ended.

    GONE: the terminal went away. CLOSED: the desk has no more changes. Raises the SluiceError
    with which a desk in another process was lost. The terminal is given back in any case; an
    answer that is on its way is waited for. `title` is ours, `clock` gives Unix seconds, `edit` is
    what the key for it does; `stops` says that the gate stops when the console ends.
    """
    console = _Console(desk, title, clock, fd, edit, stops)
    with _signals(console):
        return await console.run()


class _Console:
    def __init__(
        self, desk: Desk, title: str, clock: Callable[[], float], fd: int, edit: Edit | None, stops: bool
    ) -> None:
        self._desk = desk
        self._title = title
        self._clock = clock
        self._fd = fd
        self._edit = edit
        self._stops = stops
        self._to_edit = ""
        self._terminal = Terminal(fd)
        self._loop = asyncio.get_running_loop()
        self._scene: Scene | None = None
        self._keys = Keys()
        self._wake = asyncio.Event()
        self._ending: asyncio.Future[Ending] = self._loop.create_future()
        self._asking: set[asyncio.Task[None]] = set()
        self._drawing: frozenset[str] | None = None
        self._aside = Aside()

    async def run(self) -> Ending:
        """Draw and listen until something ends it."""
        following = asyncio.ensure_future(self._follow())
        try:
            self._take()
            while not self._ending.done():
                self._wake.clear()
                if self._to_edit:
                    await self._edited()
                    continue
                self._turn()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TICK):
                        await self._wake.wait()
                await asyncio.sleep(_BREATH)
            return self._ending.result()
        finally:
            self._give_back()
            following.cancel()
            await self._finish(following)

    def _take(self) -> None:
        self._aside.begin()
        self._terminal.enter()
        self._loop.add_reader(self._terminal.fd, self._type)

    def _give_back(self) -> None:
        self._loop.remove_reader(self._terminal.fd)
        self._loop.remove_writer(self._terminal.fd)
        self._drawing = None
        self._terminal.leave()
        self._aside.end()

    async def _edited(self) -> None:
        """Leave the terminal to the reviewer's editor, until that is done or the console ends."""
        assert self._scene is not None and self._edit is not None
        self._give_back()
        editing = asyncio.ensure_future(_told(self._edit(self._desk, self._to_edit)))
        either: set[asyncio.Future[Any]] = {editing, self._ending}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            editing.cancel()
            said = await asyncio.gather(editing, return_exceptions=True)
            self._to_edit = ""
            self._terminal, self._keys, self._aside = Terminal(self._fd), Keys(), Aside()
            self._take()
        self._scene.blank()  # keys that were meant for the editor find nothing on the screen
        self._scene.message = said[0] if isinstance(said[0], str) else "the edit failed; nothing was changed"

    async def _finish(self, following: asyncio.Future[None]) -> None:
        if self._asking:
            await asyncio.wait(self._asking, timeout=_LAST_ANSWER)
        for task in self._asking:
            task.cancel()
        await asyncio.gather(following, *self._asking, return_exceptions=True)

    def end(self, ending: Ending | BaseException) -> None:
        """End the console; the first reason counts."""
        if self._ending.done():
            return
        if isinstance(ending, Ending):
            self._ending.set_result(ending)
        else:
            self._ending.set_exception(ending)
        self._wake.set()

    def redraw(self) -> None:
        """Draw everything anew, in whatever size the terminal has now."""
        self._terminal.redraw()
        self._wake.set()

    # From the desk

    async def _follow(self) -> None:
        changes = self._desk.changes()
        try:
            async for change in changes:
                if isinstance(change, Snapshot) and self._scene is None:
                    self._scene = Scene(change.status, stops=self._stops)
                if self._scene is not None:
                    self._scene.apply(change)
                self._wake.set()
            self.end(Ending.CLOSED)
        except Exception as error:
            self.end(error)  # raised to whoever runs the console, once the terminal is given back
        finally:
            if isinstance(changes, AsyncGenerator):
                await changes.aclose()

    # From the reviewer

    def _type(self) -> None:
        """Take what was typed; it acts on the frame that is on the screen."""
        typed = self._terminal.read()
        if typed is None:
            self._loop.remove_reader(self._terminal.fd)
            self.end(Ending.GONE)
        elif typed:
            self._press(typed)
            if self._keys.open:
                self._loop.call_later(_ESCAPE, self._settle)

    def _press(self, typed: bytes) -> None:
        now = self._loop.time()
        for key in self._keys.feed(typed):
            if key.name == "redraw":
                self.redraw()
            elif key.name == "e" and self._begins_edit():
                return  # what was typed after it was not meant for an editor
            elif self._scene is not None:
                self._act(self._scene.press(key, now))
        self._wake.set()

    def _begins_edit(self) -> bool:
        """Whether the key is for the editor now; it decides nothing, so it need not wait for a frame."""
        scene = self._scene
        if scene is None or scene.hold is None or scene.mode not in (Mode.QUEUE, Mode.WHOLE):
            return False
        if self._edit is None:
            scene.message = "nothing is edited here"
        elif scene.hold.state != "pending":
            scene.message = "only what waits for an answer now can be edited"
        else:
            self._to_edit = scene.hold.id
        self._wake.set()
        return True

    def _settle(self) -> None:
        for key in self._keys.settle():
            if self._scene is not None:
                self._act(self._scene.press(key, self._loop.time()))
        self._wake.set()

    def _act(self, calls: Sequence[Call]) -> None:
        if self._scene is not None and self._scene.over:
            self.end(Ending.QUIT)
            return
        for call in calls:
            task = asyncio.ensure_future(self._ask(call))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, call: Call) -> None:
        assert self._scene is not None
        try:
            said = await self._said(call)
        except SluiceError as error:
            said = "; ".join(f"{problem.what}. {problem.why}" for problem in error.problems)
        self._scene.answered(call, said)
        self._wake.set()

    async def _said(self, call: Call) -> str:
        assert self._scene is not None
        answer = await self._desk.take(call)
        if isinstance(answer, Status):
            self._scene.status = answer
            return ""
        if isinstance(answer, Offer):
            self._scene.offered(answer)
            return ""
        if not isinstance(answer, HoldView):
            return ""
        if call.verb is Verb.SHOW:
            self._scene.took(answer)
            return ""
        if call.verb is Verb.EXTEND:
            return f"{answer.id[:6]} has {time_left(answer.deadline - self._clock())} left"
        if call.verb is Verb.GRANT:
            return f"{answer.state}: {answer.id[:6]}; its like goes unasked: sluice grants"
        if answer.state == "spendable":
            return f"approved: {answer.id[:6]} is sent when its agent asks again"
        if answer.state == "pending":
            return f"your approval counts; {answer.approvals_needed} more needed"
        return f"{answer.state}: {answer.id[:6]}"

    # To the terminal

    def _turn(self) -> None:
        """
        One frame, if the terminal has taken the one before.

        What was typed until now is read first: it was meant for the frame that is still there.
        """
        if self._scene is None or self._drawing is not None:
            return
        self._type()
        self._aside.trim()
        size = self._terminal.size()
        made = frame(self._scene, self._clock(), *size)
        waiting = self._scene.waiting
        title = f"{self._title}: {waiting} waiting" if waiting else self._title
        self._terminal.draw(made.lines, size, title=title, bell=self._scene.bell)
        self._scene.bell = False
        self._drawing = made.names
        self._scene.blank()
        self._flush()

    def _flush(self) -> None:
        try:
            done = self._terminal.flush()
        except OSError:
            self.end(Ending.GONE)
            return
        if not done:
            self._loop.add_writer(self._terminal.fd, self._flush)
            return
        self._loop.remove_writer(self._terminal.fd)
        if self._scene is not None and self._drawing is not None:
            self._scene.drawn(self._drawing, self._loop.time())
        self._drawing = None


async def _told(edit: Awaitable[HoldView | None]) -> str:
    """What to say of an edit that has ended."""
    try:
        view = await edit
    except SluiceError as error:
        return "; ".join(f"{problem.what}. {problem.why}" for problem in error.problems)
    if view is None:
        return "not edited"
    if view.state == "pending":
        return f"edited; {view.approvals_needed} more needed"
    return f"edited and {view.state}: {view.id[:6]}"


@contextmanager
def _signals(console: _Console) -> Iterator[None]:
    """
    Hear of a new size, and of the end where nobody else listens.

    A program that handles SIGTERM or SIGHUP itself goes on doing so, and cancels us.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: dict[signal.Signals, Callable[[], None]] = {signal.SIGWINCH: console.redraw}
    for number, ending in ((signal.SIGTERM, Ending.TERMINATED), (signal.SIGHUP, Ending.GONE)):
        if signal.getsignal(number) is signal.SIG_DFL:
            heard[number] = lambda ending=ending: console.end(ending)  # type: ignore[misc]
    loop = asyncio.get_running_loop()
    for number, hear in heard.items():
        loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
