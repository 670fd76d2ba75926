"""The names that holds and decisions get."""

from __future__ import annotations

import os
import re
from collections import Counter

from proxy.serve import Ids


def test_an_id_is_26_letters_and_digits_and_never_given_twice() -> None:
    new_id = Ids()

    ids = [new_id() for _ in range(10_000)]

    assert all(re.fullmatch(r"[0-9a-v]{26}", id) for id in ids)
    assert len(set(ids)) == len(ids)


def test_every_digit_of_an_id_is_random() -> None:
    new_id = Ids()

    ids = [new_id() for _ in range(2_000)]

    for at in range(26):
        counted = Counter(id[at] for id in ids)
        # 62.5 of each of 32 are expected, give or take 8.
        assert len(counted) == 32 and min(counted.values()) > 10 and max(counted.values()) < 130


def test_no_byte_that_was_drawn_serves_two_ids() -> None:
    drawn = []

    def draw(count: int) -> bytes:
        drawn.append(os.urandom(count))
        return drawn[-1]

    new_id = Ids(draw)

    ids = [new_id() for _ in range(128)]

    assert sum(map(len, drawn)) * 8 == len(ids) * 26 * 5
