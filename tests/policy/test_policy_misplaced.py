"""A key in the wrong part of a rule."""

import pytest

from proxy.errors import SluiceError
from proxy.policy import load_texts


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("metod", "'method'? It stands in match"),
        ("timeout", "'timeout'? It stands in hold"),
        ("wy", "'why'?"),
    ],
)
def test_a_key_that_belongs_elsewhere_is_recognised(key: str, meant: str) -> None:
    rule = f"name: r\n    why: w\n    match: {{host: a.b}}\n    {key}: POST\n    then: allow\n"
    text = f"version: 1\nrules:\n  - {rule}"
    with pytest.raises(SluiceError) as wrong:
        load_texts({"p.yaml": text})
    (problem,) = wrong.value.problems
    assert problem.fix == f"did you mean {meant}"
    assert problem.where == "p.yaml:6:5"
