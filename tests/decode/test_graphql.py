"""GraphQL: what runs, under its real name, whatever it is called."""

import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import graphql as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.action import UNKNOWN, Action
from proxy.decode.graphql_document import MalformedError, parse
from proxy.decode.http import Unreadable

from .asking import asked, read

URL = "https://api.example.com/graphql"


def posted(query: str, url: str = URL, **more: Any) -> Action:
    return asked("POST", url, {"query": query, **more})


@pytest.mark.parametrize(
    ("query", "type", "fields"),
    [
        ("{ viewer { login } }", "query", ("viewer",)),
        ("query Q($a: [Int!]! = [1] @d) @x { a(x: {y: [$a, 1.5e3, E, null]}) }", "query", ("a",)),
        ("mutation { ok: deleteRef(input: {refId: \"x\"}) { id } }", "mutation", ("deleteRef",)),
        ("mutation { ...F } fragment F on Mutation { deleteRef { id } }", "mutation", ("deleteRef",)),
        ("mutation { ... on Mutation { a: x } ... @include(if: true) { y } z }", "mutation", ("x", "y", "z")),
        ("mutation#query\n,,,\t{,deleteRef(input:{refId:\"x\"}){id}}", "mutation", ("deleteRef",)),
        ("\ufeffsubscription S { s }", "subscription", ("s",)),
        ('{ search(query: "mutation { deleteRef }") { n } }', "query", ("search",)),
        ('{ search(query: """ mutation " { \\""" } """) { n } }', "query", ("search",)),
        ("{ a(x: \"\\u0041\\\"\") }", "query", ("a",)),
    ],
)  # fmt: skip
def test_an_operation_is_its_type_and_its_real_top_fields(query: str, type: str, fields: Any) -> None:
    got = posted(query)
    assert read(got, "graphql.type") == (type,)
    assert read(got, "graphql.field") == fields
    assert (got.consequence == "read") is (type == "query")
    assert fields[0] in got.operation


def test_the_operation_that_is_named_is_the_one_that_runs() -> None:
    two = "query A { a } mutation B { b }"
    assert read(posted(two, operationName="B"), "graphql.type") == ("mutation",)
    assert read(posted(two, operationName="A"), "graphql.operation") == ("A",)
    for more in ({}, {"operationName": None}, {"operationName": "C"}, {"operationName": ""}):
        got = posted(two, **more)
        assert read(got, "graphql.type") is UNKNOWN and got.consequence != "read"


def test_variables_are_read_by_name() -> None:
    got = posted("mutation M($in: I!) { pay(in: $in) }", variables={"in": {"amount": 5, "to": ["a", "b"]}})
    assert read(got, "graphql.variable.in.amount") == ("5",)
    assert read(got, "graphql.variable.in.to") == ("a", "b")
    assert read(got, "graphql.variable.other") == ()


@pytest.mark.parametrize(
    "body",
    [
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "00"}}},
        {"id": "abc", "variables": {}},
        {"query": "{ a }", "also": 1},
        {"query": "{ a }", "operationName": 1},
        {"query": "{ a"},
        {"query": "type T { a: Int }"},
        {"query": "fragment F on T { a }"},
        {"query": "{ ...F }"},
        {"query": "{ ...A } fragment A on Q { ...B } fragment B on Q { ...A }"},
        {"query": "query A { a } query A { b }"},
        {"query": "query A { a } query A { b }", "operationName": "A"},
        {"query": "{ a } query A { b }", "operationName": "A"},
        {"query": None},
        [],
        "text",
    ],
)
def test_what_is_no_document_in_the_open_is_unknown_and_no_read(body: Any) -> None:
    got = asked("POST", URL, body)
    assert got.unreadable is None
    assert body == [] or read(got, "graphql.type") is UNKNOWN
    assert got.consequence != "read"


def test_a_query_beside_a_query_in_the_address_is_unknown() -> None:
    got = posted("{ a }", f"{URL}?query={quote('mutation { b }')}")
    assert read(got, "graphql.type") is UNKNOWN and got.consequence != "read"


def test_a_get_is_what_its_query_says() -> None:
    assert asked("GET", f"{URL}?query={quote('{ a }')}").consequence == "read"
    deletes = asked("GET", f"{URL}?query={quote('mutation { delete }')}")
    assert deletes.consequence != "read" and read(deletes, "graphql.field") == ("delete",)
    for query in ("query=%7Ba%7D&query=%7Bb%7D", "id=1", "query=%zz", "query=%7Ba%7D&variables=x", "query="):
        assert asked("GET", f"{URL}?{query}").consequence != "read"
    assert asked("GET", URL).consequence == "read"


def test_a_body_declared_as_graphql_is_read_or_refused() -> None:
    got = asked("POST", URL, b"mutation { deleteRef }", "application/graphql")
    assert read(got, "graphql.field") == ("deleteRef",)
    assert asked("POST", URL, b"{ a", "application/graphql").unreadable
    assert asked("POST", URL, b"\xff", "application/graphql").unreadable


def test_a_batch_is_judged_request_by_request() -> None:
    got = asked("POST", URL, [{"query": "{ a }"}, {"query": "mutation { b }"}])
    assert [member.consequence == "read" for member in got.members] == [True, False]
    assert got.consequence != "read"
    assert read(got, "graphql.field") == ("a", "b")
    assert asked("POST", URL, [{"query": "{ a }"}]).consequence == "read"
    sealed = asked("POST", URL, [{"query": "{ a }"}, {"id": "1"}])
    assert read(sealed, "graphql.field") is UNKNOWN


@pytest.mark.parametrize(
    "path", ["/v1/refunds", "/transfer", "/v1/query/run", "/api%2Fgraphql", "/graphql;v=1"]
)
def test_a_body_alone_makes_no_read(path: str) -> None:
    got = posted("{ a }", f"https://api.example.com{path}")
    assert got.consequence != "read"
    assert read(got, "graphql.type") is UNKNOWN


def test_where_graphql_may_be_served_fields_are_read_but_no_read_is_believed() -> None:
    got = posted("{ a }", "https://api.example.com/v2")
    assert read(got, "graphql.field") == ("a",) and got.consequence == "write"
    got = asked("POST", "https://api.example.com/v1/refunds", b"{ a }", "application/graphql")
    assert got.consequence != "read"
    assert posted("{ a }", "https://api.example.com/").consequence == "read"


def test_what_only_looks_like_a_query_is_no_graphql() -> None:
    got = posted("SELECT 1 FROM t", "https://api.example.com/v1/search")
    assert read(got, "graphql.type") == ()
    assert asked("POST", "https://api.example.com/x", {"a": 1}).read(("graphql", "field")) is not UNKNOWN


def test_graphql_in_multipart_is_opaque() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="operations"\r\n\r\n{"query":"{a}"}\r\n--b--'
    got = asked("POST", URL, body, "multipart/form-data; boundary=b")
    assert read(got, "graphql.type") is UNKNOWN and got.consequence != "read"


def exploding(count: int) -> str:
    spreads = "".join(f"fragment F{n} on Q {{ ...F{n + 1} ...F{n + 1} }}\n" for n in range(count))
    return f"{{ ...F0 }}\n{spreads}fragment F{count} on Q {{ id }}"


@pytest.mark.parametrize(
    "query",
    [exploding(60), exploding(600), "{" + "a " * 50_000 + "}", "{a" * 500 + "}" * 500, "{a(x:" + "[" * 500,
     "#" * 300_000, "query($a:" + "[" * 500],
)  # fmt: skip
def test_documents_that_explode_are_unreadable_at_once(query: str) -> None:
    began = time.process_time()
    assert posted(query).unreadable
    assert time.process_time() - began < 1  # milliseconds, as it is measured


def test_sixteen_levels_of_fragments_are_within_bounds() -> None:
    assert read(posted(exploding(12)), "graphql.field") == ("id",)


MARKS = list('{}():!=&[],\\"')
WORDS = [
    "a",
    "b:",
    "...",
    "on",
    "fragment",
    "F",
    "query",
    "mutation",
    "$v",
    "@d",
    "true",
    "é",
    "#c\n",
    "\ufeff",
]
VALUES = ["1", "01", "-1.5e2", '"s"', '"""b"""']
TOKENS = st.sampled_from([*MARKS, *WORDS, *VALUES])


@given(st.lists(TOKENS, max_size=12).map(" ".join))
def test_no_document_is_read_that_the_reference_refuses(text: str) -> None:
    try:
        found = parse(text)
    except MalformedError:
        return
    document = reference.parse(text)
    operations = [one for one in document.definitions if isinstance(one, reference.OperationDefinitionNode)]
    assert [one.type for one in found] == [one.operation.value for one in operations]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(MalformedError, Unreadable):
        parse(text)
