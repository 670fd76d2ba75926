"""
What is worked out when somebody first asks for it, and at most once.

Most requests are judged by a few fields: the others cost nothing until a rule, the default or
a record reads them. What is remembered lives as long as the action that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from proxy.action import Reading


class Once[T]:
    """A value of a pure function without arguments, made by the first call and kept."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make

    def __call__(self) -> T:
        if self._make is not None:
            self._made = self._make()
            self._make = None  # and what it was made of can go
        return self._made


class Scalars(Mapping[str, Reading]):
    """Readings by name, of which some are worked out `later`; going through all of them makes them all."""

    __slots__ = ("_known", "_later")

    def __init__(self, known: dict[str, Reading], later: Mapping[str, Callable[[], Reading]]) -> None:
        self._known = known
        self._later = later

    def __getitem__(self, name: str) -> Reading:
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._later[name]()
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self._later

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._known, *self._later)))

    def __len__(self) -> int:
        return len(self._known.keys() | self._later.keys())
