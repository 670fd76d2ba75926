"""What a reviewer has changed of a request, as lines to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from proxy.render.text import safe
from proxy.wire import HoldView

_STYLES: Final = {"-": "red", "+": "green"}
_FIRST: Final = 6
_LINE: Final = 300


def difference_lines(difference: Sequence[str]) -> Iterator[Text]:
    """Lines as `proxy.edit.difference` gives them: what is taken out, what is put in, what stays."""
    for line in difference:
        yield safe(line, _STYLES.get(line[:1], "dim"))


def edit_rows(view: HoldView) -> Iterator[tuple[str, Text]]:
    """Who has edited a hold, and the beginning of what that changed; nothing where nobody has."""
    if not view.edited_by:
        return
    yield "edited", Text.assemble("by ", safe(", ".join(view.edited_by), "bold"))
    changed = [line for line in view.difference if line[:1] in _STYLES]
    for line in difference_lines([line[:_LINE] for line in changed[:_FIRST]]):
        yield "", line
    if len(changed) > _FIRST or any(len(line) > _LINE for line in changed):
        yield "", Text("[there is more: see the whole difference]", "bold yellow")


def whole_difference(view: HoldView) -> Iterator[Text]:
    """All that an edit changed, before the request as it would leave; nothing where nobody has edited."""
    if not view.edited_by:
        return
    yield Text.assemble(
        ("edited by ", "bold yellow"),
        safe(", ".join(view.edited_by), "bold yellow"),
        ("; the agent's own:", "dim"),
    )
    yield from difference_lines(view.difference)
    yield Text()
