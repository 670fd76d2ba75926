"""What is shown to follow holds for every request; what excludes itself never applies."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from making_actions import action, policy, rule

from proxy.action import UNKNOWN, Values
from proxy.policy import globs
from proxy.policy.cover import (
    contradiction,
    excepted_whole,
    line_covers,
    match_covers,
    rule_covers,
    wider_than,
)
from proxy.policy.truth import Look, line_says, rule_says
from proxy.policy.verdict import Effect

A = ("json", "a")


def lines(match: str):
    return policy(rule("r", "hold", match=match)).rules[0].match


def rules(*written: str):
    return {one.name: one for one in policy(*written).rules}


# -- against every small request -----------------------------------------------------------

WHERE = [
    "json.a: {is: x}", "json.a: {in: [x, Y]}", "json.a: {is: 5}", "json.a: {in: [5, 7.0]}",
    'json.a: {is: "5"}',
    "json.a: {like: 'x*'}", "json.a: {like: '*'}", "json.a: {like: ['x*', '5']}", "json.a: {matches: 'x.*'}",
    "json.a: {above: 4}", "json.a: {above: 6}", "json.a: {below: 6}", "json.a: {exists: true}",
    "json.a: {exists: false}", "json.a: {count_above: 1}", "json.a: {count_above: 0}",
    "json.a: {outside: [x.org]}", "json.a: {outside: [x.org, y.org]}", "json.a: {is: a@X.org}",
    "json.a: {is: a@x.org}", "json.a: {like: '*X.org'}", "json.a: {matches: '[0-9].00'}",
    "path: {is: /v1/a}", "path: {like: '/v1/*'}", "path: {like: '/v1/**'}",
    "path: {like: '/**/a'}", "path: {is: /V1/A/}", "method: {is: POST}", "method: {in: [GET, POST]}",
    "scheme: {is: http}",
    "port: {is: 443}", "port: {in: [443, 80]}", "port: {above: 100}", "host: {is: api.example.com}",
    "host: {like: '*.example.com'}", "host: {like: '*.com'}",
]  # fmt: skip
ITEMS = ["x", "Y", "xx", "5", "5.00", "7", "x\ny", "a@x.org", "a@X.org", "b@y.org", "b@z.org", None]
LISTS = [[], *([one] for one in ITEMS), *combinations(ITEMS, 2)]
READINGS = [UNKNOWN, *(Values(tuple(items)) for items in LISTS)]
PATHS = ["/v1/a", "/V1/a", "/v1/a/", "/v1/", "/v1", "/v1/b/a", "/a", "/v1%2Fa"]
MATCHES = st.lists(st.sampled_from(WHERE), min_size=1, max_size=3, unique_by=lambda text: text.split(":")[0])
UNLESS = st.lists(MATCHES, max_size=2)
METHODS = [("POST",), ("GET",), ("POST", "DELETE")]
LOOKS = [
    *(Look(action({A: reading})) for reading in READINGS),
    *(Look(action(path=path)) for path in PATHS),
    *(Look(action({("method",): Values(method)})) for method in METHODS),
    *(
        Look(action(port=port, scheme=scheme))
        for port, scheme in ((80, "http"), (443, "http"), (8443, "https"))
    ),
    *(Look(action(host=host)) for host in ("api.example.com", "x.com", "a.api.example.com")),
]


def where(match: list[str]) -> str:
    """Lines of one field under one name; of one operator the first counts."""
    operators: dict[str, dict[str, str]] = {}
    for text in match:
        field, _, rest = text.partition(": ")
        operator, _, operand = rest[1:-1].partition(": ")
        operators.setdefault(field, {}).setdefault(operator, operand)
    fields = (
        f"{field}: {{{', '.join(f'{name}: {value}' for name, value in found.items())}}}"
        for field, found in operators.items()
    )
    return f"{{where: {{{', '.join(fields)}}}}}"


def whole(then: str, match: list[str], unless: list[list[str]]):
    """One rule, written out."""
    text = f"name: r\nmatch: {where(match)}\nthen: {then}"
    return policy(text + (f"\nunless: [{', '.join(map(where, unless))}]" if unless else "")).rules[0]


@pytest.mark.parametrize("wide", [True, False])
def test_a_line_that_covers_another_holds_wherever_the_other_does(wide):
    known = [whole("hold", [text], []).match[0] for text in WHERE]
    says = [[line_says(line, tightens=wide)(look) for look in LOOKS] for line in known]
    shown = 0
    for (outer, outer_says), (inner, inner_says) in product(zip(known, says, strict=True), repeat=2):
        if not line_covers(outer, inner, wide=wide):
            continue
        shown += outer is not inner
        for there, here in zip(outer_says, inner_says, strict=True):
            assert here is False or there is not False, (str(outer), str(inner))
            assert here is not True or there is True, (str(outer), str(inner))
    assert shown > 20


@pytest.mark.parametrize("then", ["allow", "hold"])
def test_two_lines_that_exclude_each_other_never_hold_together(then):
    shown = 0
    for pair in combinations(WHERE, 2):
        found = whole(then, list(pair), [])
        if contradiction(found):
            shown += 1
            assert all(rule_says(found)(look) is not True for look in LOOKS), pair
    assert shown > 10


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["watch", "hold", "deny"]), st.sampled_from(["allow", "watch", "hold"]),
    MATCHES, UNLESS, MATCHES, UNLESS,
)  # fmt: skip
def test_a_rule_that_covers_another_speaks_wherever_the_other_does(
    then, weaker, match, unless, inside, excepted
):
    outer, inner = whole(then, match, unless), whole(weaker, [*match, *inside], [*unless[:1], *excepted])
    if rule_covers(outer, inner):
        for look in LOOKS:
            spoken = rule_says(inner)(look)
            counts = spoken is True or (spoken is None and inner.then is not Effect.ALLOW)
            assert not counts or rule_says(outer)(look) is not False


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["allow", "hold"]), MATCHES, MATCHES)
def test_a_rule_that_is_excepted_whole_never_applies(then, match, item):
    found = whole(then, [*match, *item], [item])
    if excepted_whole(found):
        assert all(rule_says(found)(look) is not True for look in LOOKS)


PIECES = st.sampled_from(["a", "b", "*", "**", "a*", "*b"])
PATTERNS = st.lists(PIECES, min_size=1, max_size=4).map(lambda pieces: f"/{'/'.join(pieces)}")
SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "A", ""]), min_size=1, max_size=5)


@settings(max_examples=1500, deadline=None)
@given(PATTERNS, PATTERNS, SEGMENTS, st.booleans())
@example("/a/**", "/a/**", ["a"], True)
def test_a_path_that_covers_another_takes_every_path_of_it(outer, inner, segments, wide):
    one, other = lines(f"path: '{outer}'"), lines(f"path: '{inner}'")
    path = "/" + "/".join(
        segment for at, segment in enumerate(segments) if segment or at == len(segments) - 1
    )
    if match_covers(one, other, wide=wide):
        ways = globs.wide_paths(path) if wide else (path,)
        if any(globs.path(inner, wide=wide)(way) for way in ways):
            assert any(globs.path(outer, wide=wide)(way) for way in ways)


# -- and not so careful that nothing is found -------------------------------------------------


@pytest.mark.parametrize(
    ("outer", "inner", "covered"),
    [
        ("host: '*.example.com'", "host: a.example.com", True),
        ("host: '*.example.com'", "host: '*.b.example.com'", True),
        ("host: '*.example.com'", "host: example.com", False),
        ("host: a.example", "host: [a.example, b.example]", False),
        ("host: [a.example, b.example]", "host: a.example, path: /x", True),
        ("path: /v1/**", "path: [/v1/a, /v1/b/*]", True),
        ("path: /v1/*", "path: /v1/**", False),
        ("path: /**/refund", "path: /v1/*/refund", True),
        ("path: /v1/**/x", "path: /v1/**/y/**/x", True),
        ("path: '/v1/a*'", "path: '/v1/ab*'", True),
        ("method: [GET, POST]", "method: GET", True),
        ("where: {port: {in: [443, 80]}}", "port: 443", True),
        ("where: {json.a: {above: 5}}", "where: {json.a: {above: 9}}", True),
        ("where: {json.a: {above: 9}}", "where: {json.a: {above: 5}}", False),
        ("where: {json.a: {below: 5}}", "where: {json.a: {is: 4}}", True),
        ("where: {json.a: {exists: true}}", "where: {json.a: {is: x}}", True),
        ("where: {json.a: {exists: true}}", "where: {json.a: {above: 5}}", False),
        ("where: {json.a: {outside: [x.org]}}", "where: {json.a: {outside: [x.org, y.org]}}", True),
        ("where: {json.a: {like: 'a*'}}", "where: {json.a: {matches: 'a.*'}}", False),
        ("where: {json.b: {is: x}}", "where: {json.a: {is: x}}", False),
    ],
)
def test_what_covers_what(outer, inner, covered):
    assert match_covers(lines(outer), lines(inner), wide=True) is covered


def test_a_rule_with_another_exception_covers_nothing_that_it_excepts():
    found = rules(
        rule("plain", "hold", match="host: a.example, path: /v1/x"),
        rule("strict", "deny", match="host: a.example"),
        rule("lenient", "deny", match="host: a.example", unless="[{path: /v1/x}]"),
        rule("same", "hold", match="host: a.example, path: /v1/**", unless="[{path: [/v1/x, /v1/y]}]"),
    )
    assert rule_covers(found["strict"], found["plain"])
    assert not rule_covers(found["lenient"], found["plain"])
    assert rule_covers(found["lenient"], found["same"])


def test_an_allow_is_wider_than_a_hold_only_by_addresses_that_nobody_excepted():
    hold = rule("hold", "hold", match="host: a.example, method: POST, path: /v1/refunds")
    wide = "host: a.example, method: POST, path: /v1/**"

    def found(allow: str, other: str = hold) -> bool:
        both = rules(allow, other)
        return wider_than(both["allow"], both["hold"])

    assert found(rule("allow", "allow", match=wide))
    assert not found(rule("allow", "allow", match="host: a.example, method: POST, path: /v1/refunds"))
    assert not found(rule("allow", "allow", match="host: a.example, method: GET"))
    assert not found(rule("allow", "allow", match=wide, unless="[{path: /v1/refunds}]"))
    assert not found(rule("allow", "allow", match=wide + ", where: {header.x: {is: y}}"))


def test_implied_lines_are_nobodys_address():
    (allow,) = policy(rule("allow", "allow", match="host: a.example")).rules
    assert not match_covers(allow.match, lines("host: a.example"), wide=True)
    assert replace(allow).match[1].implied
