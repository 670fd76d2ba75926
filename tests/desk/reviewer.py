"""A scene, a clock, and hands: what a reviewer does at the console, without a terminal."""

import time

from proxy.console.frame import frame
from proxy.console.keys import Key
from proxy.console.scene import ARMING, Scene
from proxy.wire import Change, Snapshot, Status

STATUS = Status("http://127.0.0.1:8080", "p" * 64)


class Reviewer:
    """`look` draws and reads on, `press` types."""

    def __init__(self, *views, status=STATUS, size=(80, 24)):
        self.scene = Scene(status)
        self.scene.apply(Snapshot(status, views))
        self.time = 100.0
        self.size = size

    def draw(self):
        made = frame(self.scene, time.time(), *self.size)
        self.scene.drawn(made.names, self.time)
        return "\n".join(line.plain for line in made.lines)

    def look(self, seconds=ARMING):
        text = self.draw()
        self.time += seconds
        return text

    def press(self, *keys):
        """The last call that the last key asks for, if it asks for any."""
        return (self.calls(*keys) or (None,))[-1]

    def calls(self, *keys):
        """All calls that the last key asks for."""
        return [self.scene.press(Key(key, key if len(key) == 1 else ""), self.time) for key in keys][-1]

    def type(self, text):
        for char in text:
            self.scene.press(Key(char, char), self.time)

    def happens(self, kind, view):
        self.scene.apply(Change(kind, hold=view))
