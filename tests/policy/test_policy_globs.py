"""Patterns for text, hosts and paths."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy import globs


@pytest.mark.parametrize(
    ("pattern", "path", "tightening", "loosening"),
    [
        ("/v1/refunds", "/v1/refunds", True, True),
        ("/v1/refunds", "/V1/Refunds", True, False),
        ("/v1/refunds", "/v1/refunds/", True, False),
        ("/v1/refunds/", "/v1/refunds", True, False),
        ("/v1/refunds", "/v1/refunds;x=1", True, False),
        ("/v1/refunds", "/v1;x/refunds", True, False),
        ("/v1/refunds;x", "/v1/refunds;y", True, False),
        ("/v1/refunds", "/v1%2Frefunds", True, False),
        ("/v1/refunds", "/v1/x%2F..%2Frefunds", True, False),
        ("/v1/refunds", "/v1%2F%2Frefunds", True, False),
        ("/v1/refunds", "/v1/refunds/x", False, False),
        ("/v1/*", "/v1/a", True, True),
        ("/v1/*", "/v1", False, False),
        ("/v1/*", "/v1/", True, False),
        ("/v1/*", "/v1/a/b", False, False),
        ("/v1/*", "/v1/a%2Fb", True, True),
        ("/v1/*/b", "/v1/a/b", True, True),
        ("/v1/*/b", "/v1/a%2Fx/b", True, True),
        ("/v1/**", "/v1", True, True),
        ("/v1/**", "/v1/a/b/c", True, True),
        ("/v1/**", "/v1x", False, False),
        ("/**", "/", True, True),
        ("/**/b", "/b", True, True),
        ("/**/b", "/a/a/b", True, True),
        ("/a/**/c/**", "/a/b/c", True, True),
        ("/a/**/c/*", "/a/c/x/c", False, False),
        ("/bot*/sendMessage", "/bot123:abc/sendMessage", True, True),
        ("/bot*/sendMessage", "/bot1/SeNdMeSsAgE", True, False),
        ("/models/*:generate", "/models/x:generate", True, True),
        ("/models/*:generate", "/models/a/x:generate", False, False),
        ("/models/*:generate", "/models/a%2Fx:generate", True, True),
        ("/a%2Fb", "/a%2Fb", True, True),
    ],
)
def test_a_path_is_compared_widely_where_it_tightens_and_narrowly_where_it_loosens(
    pattern, path, tightening, loosening
):
    wide, narrow = globs.path(pattern, wide=True), globs.path(pattern, wide=False)
    assert any(map(wide, globs.wide_paths(path))) is tightening
    assert narrow(path) is loosening


SEGMENT = st.sampled_from(["a", "b", "ab", "a%2Fb", "x;y"])
PATTERN = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "*b"]), min_size=1, max_size=5)


@given(PATTERN, st.lists(SEGMENT, min_size=1, max_size=6))
def test_a_path_pattern_is_the_regular_expression_that_it_stands_for(pattern, segments):
    parts = {"*": "/[^/]+", "**": "(?:/[^/]*)*"}
    expression = "".join(parts.get(one, "/" + re.escape(one).replace(r"\*", "[^/]*")) for one in pattern)
    path = f"/{'/'.join(segments)}"
    narrow = globs.path(f"/{'/'.join(pattern)}", wide=False)
    assert bool(narrow(path)) is bool(re.fullmatch(expression, path))


@given(PATTERN, st.lists(SEGMENT, min_size=1, max_size=6), st.booleans())
def test_a_tightening_path_matches_whatever_a_loosening_one_does(pattern, segments, slash):
    text, path = f"/{'/'.join(pattern)}", f"/{'/'.join(segments)}" + "/" * slash
    if globs.path(text, wide=False)(path):
        assert any(map(globs.path(text, wide=True), globs.wide_paths(path)))


@given(st.text(alphabet="ab*", max_size=8), st.text(alphabet="ab*\n", max_size=12))
def test_a_star_in_text_is_any_text(pattern, value):
    expression = re.escape(pattern).replace(r"\*", ".*")
    assert globs.text(pattern)(value) is bool(re.fullmatch(expression, value, re.DOTALL))


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "xapi.example.com", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", ".example.com", False),
    ],
)
def test_a_starred_host_is_any_depth_below_and_not_itself(pattern, host, matches):
    assert globs.host(pattern)(host) is matches


@pytest.mark.parametrize("pattern", ["/**/a" * 60 + "/b", "/" + "*a" * 60 + "b"])
def test_no_pattern_runs_away(pattern):
    began = time.process_time()
    assert not globs.path(pattern, wide=True)("/a" * 20_000)
    assert not globs.path(pattern, wide=True)("/" + "a" * 40_000)
    assert time.process_time() - began < 1
