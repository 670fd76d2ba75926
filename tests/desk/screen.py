"""A real terminal (a pty, read by pyte) with the console in it."""

import json
import os
import socket
import sys
import time
from pathlib import Path

import pexpect
import pyte

HERE = Path(__file__).parent
DEADLINE = 10.0


class Watched(pyte.Screen):
    """Remembers what leaves no trace on a screen."""

    bells = 0
    titles: tuple[str, ...] = ()

    def bell(self, *args):
        self.bells += 1

    def set_title(self, param):
        super().set_title(param)
        self.titles = (*self.titles, param)


class Screen:
    """A console in a pty; `see` waits for what has to appear."""

    def __init__(self, folder, width=80, height=24, app="console_app.py", **environ):
        listener = socket.socket(socket.AF_UNIX)
        path = str(folder / "steer")
        listener.bind(path)
        listener.listen()
        listener.settimeout(DEADLINE)
        env = {
            **os.environ,
            "TERM": "xterm-256color",
            "PYTHONPATH": f"{HERE.parents[1]}:{HERE}",
            "LC_ALL": "C.UTF-8",
            **environ,
        }
        command = [str(HERE / app), path]
        self.child = pexpect.spawn(
            sys.executable, command, dimensions=(height, width), env=env, timeout=DEADLINE
        )
        self.child.delaybeforesend = None
        self.modes = None
        self.screen = Watched(width, height)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.steering, _ = listener.accept()
        listener.close()
        self.steering.settimeout(DEADLINE)
        self.lines = self.steering.makefile("rb")

    def do(self, what, **command):
        """Have something happen at the desk."""
        self.steering.sendall(json.dumps({"do": what, **command}).encode() + b"\n")
        return json.loads(self.lines.readline())

    def send(self, keys):
        self.child.send(keys)

    def pump(self, seconds=0.02):
        try:
            data = self.child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self.stream.feed(data)
        return True

    @property
    def text(self):
        return "\n".join(self.screen.display)

    def wait(self, found, what):
        until = time.monotonic() + DEADLINE
        while not found():
            alive = self.pump()
            if found():
                return
            if not alive or time.monotonic() > until:
                raise AssertionError(f"never saw {what!r} on:\n{self.text}")

    def see(self, *texts):
        """Wait until all of these stand on the screen at once."""
        self.wait(lambda: all(text in self.text for text in texts), texts)

    def see_no(self, text):
        self.wait(lambda: text not in self.text, f"no {text}")

    def line(self, text):
        """The one line with this text."""
        return next(line for line in self.screen.display if text in line)

    def look(self, seconds=0.6):
        """As a reviewer does: read for longer than the arming time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.pump()

    def calls(self):
        return self.do("calls")

    def called(self, *expected):
        """Wait until the desk has heard exactly these calls, by their first words."""
        self.wait(
            lambda: [tuple(call[: len(expected[0])]) for call in self.calls()] == list(expected), expected
        )

    def end(self):
        """Wait until the console has ended; the last lines that its program printed."""
        while self.pump():
            pass
        self.child.close(force=True)
        return self.raw.rsplit(b"\x1b[?1049l", 1)[-1].decode(errors="replace")

    def close(self):
        self.steering.close()
        self.lines.close()
        self.child.close(force=True)
