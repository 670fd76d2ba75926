"""Grants over the control socket: giving one opens, looking at them and taking them back does not."""

import pytest

from proxy.control.guard import opens
from proxy.wire import Call, Verb


@pytest.mark.parametrize("verb", [Verb.GRANT, Verb.EXTEND])
def test_what_would_let_something_through_is_refused_while_the_desk_is_locked(verb):
    assert opens(Call(verb))


@pytest.mark.parametrize("verb", [Verb.OFFER, Verb.GRANTS, Verb.REVOKE])
def test_looking_and_taking_back_is_not(verb):
    assert not opens(Call(verb))
