"""What a request to an API that nobody wrote a rule for would do, read from how APIs name things."""

from __future__ import annotations

import json
import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.action import UNKNOWN, Values
from proxy.decode import decode
from proxy.decode.consequence import CONSEQUENCES
from proxy.policy import request

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
RISKY = {"payment", "message", "delete", "permission"}


def does(
    method: str, target: str, body: str = "", kind: str = "", host: str = "api.example.org", **headers: str
) -> set[str]:
    """The consequences of one request, whole."""
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    sent += [("content-type", kind)] if kind else []
    found = decode(request(method, f"https://{host}{target}", sent, body.encode()))
    assert found.unreadable is None, found.unreadable
    reading = found.scalars["consequence"]
    assert isinstance(reading, Values)
    assert found.consequence in reading.items
    return {word for word in reading.items if word}


def why(method: str, target: str, body: str = "", kind: str = "") -> str:
    sent = [("content-type", kind)] if kind else []
    reading = decode(request(method, f"https://api.example.org{target}", sent, body.encode()))
    found = reading.scalars["consequence_why"]
    assert isinstance(found, Values)
    assert found.items[0] is not None
    return found.items[0]


# -- verbs and nouns ---------------------------------------------------------------------------

READS = """
GET /v1/customers
GET /payments/pay_81723/refunds
GET /users/5/roles
HEAD /files/report-2024
POST /products/search
POST /v2/flights/query
POST /documents:analyzeSentiment
POST /addresses/validate
POST /bot123456:ABC-DEF1234ghIkl/getUpdates
POST /my-index/_search
POST /shipping/rates/estimate
POST /accounts/list
POST /v1/embeddings/compute
POST /permissions/check
POST /users/lookup/emails
"""
WRITES = """
POST /contacts
PATCH /contacts/5
PUT /items/5/status
POST /tickets
POST /orders/5/notes
POST /issues/12/labels
PUT /posts/5/like
POST /articles/9/comments
DELETE /posts/5/reactions/7
DELETE /issues/12/labels/bug
DELETE /user/starred/acme/widgets
DELETE /issues/12/assignees
POST /instances/i-0a1b2c/start
POST /instances/i-0a1b2c/resize
PUT /dashboards/17
POST /uploads
POST /pages/5/restore
POST /webinars/77/surveys
POST /sandbox/transfers/create
PATCH /users/5/avatar
POST /queues/q1/messages
POST /v1/chat/completions
PUT /namespaces/payments/deployments/web
POST /things:removeTagsFromUser
POST /projects/278964/repository/commits
POST /projects/278964/repository/blames
"""
PAYMENTS = """
POST /charges
POST /payments/pay_81723/captures
POST /payment_intents/pi_123abc456/confirm
POST /v1/refunds
POST /wallets/5/withdraw
POST /invoices/5/pay
POST /cart/checkout
POST /domains/example.org/renew
POST /payouts
POST /bankTransfers
PUT /accounting/Payments
POST /settlements/ondemand
POST /subscriptions
PATCH /subscriptions/sub_1234
POST /subscriptions/sub_1234/add-ons
POST /phone_numbers
POST /gift-cards
POST /disputes/dp_123/accept
PUT /merchants/m1/transactions/x1/submit_for_settlement
"""
MESSAGES = """
POST /messages
POST /email/send
POST /v3/mg.example.org/messages.mime
POST /email/batchWithTemplates
POST /contacts/5/email
POST /sms/send
POST /channels/C1/postMessage
GET /bot123456:ABC-DEF1234ghIkl/sendMessage
POST /chat.postMessage
POST /campaigns/123/actions/send
POST /campaigns/123/schedule
POST /campaigns/123/test
POST /letters
POST /notifications
POST /calls
POST /envelopes
POST /teams/7/members:notify
"""
DELETES = """
DELETE /customers/cus_9s6XKzkNRiz8i3
DELETE /files/report
POST /users/bulk-delete
POST /files/trash/empty
POST /cache/purge
POST /my-index/_delete_by_query
POST /projects/p1/secrets/s1/versions/1:destroy
POST /messages:batchDelete
POST /users/5/anonymize
POST /jobs/5/cancel
POST /privacy/deletion-requests
GET /snapshots-delete/abc
GET /users/5/delete
PURGE /assets/app.js
POST /servers/17/actions/rebuild
POST /namespaces/pay/pods/web/eviction
"""
PERMISSIONS = """
POST /users
POST /teams/5/members
PUT /repos/acme/widgets/collaborators/jane
POST /keys
POST /apikeys
PATCH /roles/5
PUT /documents/5/permissions
POST /webhooks
POST /eventHooks
POST /files/5/share
POST /sessions/revoke
POST /account/password/reset
POST /users/5/impersonate
POST /clients/abc/rotate-secret
PUT /scim/v2/Groups/17
POST /apis/rbac.authorization.example.io/v1/rolebindings
POST /oauth2PermissionGrants
POST /projects/p1:setIamPolicy
POST /invitations
PUT /domains/example.org/ssl
POST /mailFolders/inbox/messageRules
POST /requests/5/approve
POST /iam/anything
POST /webhooks/5/test
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (line, word)
        for word, table in (
            ("read", READS),
            ("write", WRITES),
            ("payment", PAYMENTS),
            ("message", MESSAGES),
            ("delete", DELETES),
            ("permission", PERMISSIONS),
        )
        for line in lines(table)
    ],
)
def test_a_request_is_read_as_its_method_and_its_words_are_meant(line: str, word: str) -> None:
    method, target = line.split()
    found = does(method, target)
    assert word in found
    assert bool(found & RISKY) is (word in RISKY)


@pytest.mark.parametrize(
    ("risky", "harmless"),
    [
        ("POST /roles", "POST /roles/search"),
        ("DELETE /files/5", "DELETE /files/5/tags/red"),
        ("POST /payments", "POST /payment_methods"),
        ("POST /access/policies", "POST /scaling/lifecycle-policies"),
        ("POST /security-groups", "POST /log-groups"),
        ("POST /tokens", "POST /input_tokens"),
        ("POST /users/5/messages", "POST /users/5/message-drafts"),
        ("POST /payments/p_1/cancel", "POST /payments/p_1/labels"),
        ("POST /campaigns/5/launch", "POST /campaigns"),
        ("POST /orders/123/refund", "GET /orders/123/refund"),
        ("POST /transfer", "POST /files/transfer-status"),
        ("PUT /secrets/delete-me", "PUT /documents/delete-me-x1234"),
    ],
)
def test_where_a_word_stands_decides_what_it_means(risky: str, harmless: str) -> None:
    assert does(*risky.split()) & RISKY
    assert not does(*harmless.split()) & RISKY


@pytest.mark.parametrize(
    "spelling",
    ["/serviceAccounts", "/service_accounts", "/service-accounts", "/ServiceAccounts", "/serviceaccounts"],
)
def test_words_are_found_in_any_spelling(spelling: str) -> None:
    assert does("POST", f"/v1beta1/projects/p1{spelling}/a/keys") >= {"permission"}
    assert does("POST", f"/v2{spelling}") >= {"permission"}


@pytest.mark.parametrize(
    "target", ["/items%3Apurge", "/items:purge", "/items:batchPurge", "/items/purge;v=1"]
)
def test_a_verb_is_found_behind_a_colon_an_escape_and_parameters(target: str) -> None:
    assert "delete" in does("POST", target)


def test_a_host_of_access_makes_every_change_one_of_access() -> None:
    assert "permission" in does("POST", "/things", host="iam.example.org")
    assert "permission" in does("POST", "/things", host="secretmanager.example.org")
    assert does("POST", "/things", host="access.org") == {"write"}  # a name that somebody bought


def test_a_name_that_somebody_chose_says_nothing() -> None:
    assert does("PUT", "/namespaces/payments/deployments/web-front") == {"write"}
    assert does("PATCH", "/projects/message-board") == {"write"}
    assert does("POST", "/repos/acme/charge/issues") == {"write"}


# -- methods, overrides, formats -----------------------------------------------------------------


def test_an_override_counts_as_the_worst_of_its_methods_and_is_never_a_read() -> None:
    assert does("GET", "/items/5", x_http_method_override="DELETE") == {"delete"}
    assert does("DELETE", "/items/5", x_http_method_override="GET") == {"delete"}
    assert does("GET", "/items/5", x_http_method_override="GET") == {"write"}
    assert does("POST", "/items/5?_method=delete") == {"delete"}


@pytest.mark.parametrize("body", ["x", '{"a": 1}'])
def test_a_read_with_a_body_or_an_upgrade_is_none(body: str) -> None:
    assert does("GET", "/items", body, "text/plain") == {"write"}
    assert does("POST", "/items/search", body, "text/plain") == {"write"}
    assert does("GET", "/items", upgrade="websocket") == {"write"}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("DeleteBooks", "delete"),
        ("CreateUser", "permission"),
        ("SendInvoice", "message"),
        ("ChargeCard", "payment"),
        ("GetBook", "read"),
        ("UpdateShelf", "write"),
    ],
)
def test_a_procedure_call_is_read_by_its_name(name: str, word: str) -> None:
    found = does("POST", f"/library.v1.Shelves/{name}", "\0\0\0\0\0", "application/grpc")
    assert word in found or (word == "read" and found == {"write"})  # its body is opaque


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("issueDelete(id: 1)", "delete"),
        ("createApiKey(name: 1)", "permission"),
        ("refundCreate(id: 1)", "payment"),
        ("sendMessage(to: 1)", "message"),
        ("issueUpdate(id: 1)", "write"),
        ("ok: issueUpdate(id: 1) x: issueDelete(id: 1)", "delete"),
    ],
)
def test_a_mutation_is_read_by_its_fields(field: str, word: str) -> None:
    found = does("POST", "/graphql", f'{{"query": "mutation {{ {field} {{ id }} }}"}}', JSON)
    assert word in found


@pytest.mark.parametrize(
    ("tool", "word"),
    [
        ("delete_event", "delete"),
        ("send_email", "message"),
        ("create-refund", "payment"),
        ("add_note", "write"),
    ],
)
def test_a_tool_is_read_by_its_name(tool: str, word: str) -> None:
    call = f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {{"name": "{tool}"}}}}'
    assert word in does("POST", "/mcp", call, JSON)


def test_a_name_in_a_body_excuses_no_path() -> None:
    call = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_weather"}}'
    assert "payment" in does("POST", "/v1/charges", call, JSON)


def test_what_a_format_hides_is_unknown() -> None:
    opaque = request(
        "POST",
        "https://api.example.org/graphql",
        [("content-type", JSON)],
        b'{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "ab"}}}',
    )
    assert decode(opaque).scalars["consequence"] is UNKNOWN


# -- what query, headers and body add ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body", "kind", "word"),
    [
        ("/items?action=delete", "", "", "delete"),
        ("/?Action=CreateUser", "", "", "permission"),
        ("/bucket?policy", "", "", "permission"),
        ("/bucket?delete", "", "", "delete"),
        ("/events?sendUpdates=all", "", "", "message"),
        ("/nvp", "METHOD=RefundTransaction&ID=1", FORM, "payment"),
        ("/items", "action=purge", FORM, "delete"),
        ("/servers/17/actions", '{"type": "destroy"}', JSON, "delete"),
        ("/documents/17", '{"status": "VOIDED"}', JSON, "delete"),
        ("/documents/17", '{"document": {"status": "sent"}}', JSON, "message"),
        ("/items/17", '{"requests": [{"deleteSheet": {"id": 1}}]}', JSON, "delete"),
        ("/execute", '{"sql": "DROP TABLE orders"}', JSON, "delete"),
        ("/query", '{"query": "select 1; delete/**/from orders"}', JSON, "delete"),
        ("/statements", '{"statement": "GRANT ALL ON x TO y"}', JSON, "permission"),
        ("/items/17", '{"private": false}', JSON, "permission"),
        ("/items/17", '{"access_level": 50}', JSON, "permission"),
        ("/mailbox", '{"action": {"forwardTo": "a@b.example"}}', JSON, "permission"),
        ("/service.asmx", "<s:Envelope><s:Body><m:DeleteItem/></s:Body></s:Envelope>", "text/xml", "delete"),
        ("/bucket", "<Delete><Object><Key>k</Key></Object></Delete>", "application/xml", "delete"),
        ("/publish", '{"to": "+1555", "text": "hi"}', JSON, "message"),
        ("/things", '{"amount": 5, "currency": "eur"}', JSON, "payment"),
    ],
)
def test_what_query_and_body_say_makes_a_request_graver(target: str, body: str, kind: str, word: str) -> None:
    path = target.partition("?")[0]
    assert not does("POST", path) & {word}
    assert word in does("POST", target, body, kind)


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "delete me", "text": "DROP TABLE orders"}',
        '{"sql": "SELECT deleted_from FROM dropped"}',
        '{"messages": [{"role": "user", "content": "delete everything"}]}',
        '{"deleteProtection": false, "deleted": true}',
        '{"removeLabels": ["a"]}',
        '{"status": "open"}',
        '{"amount": 5}',
        '{"price": {"amount": 5, "currency": "eur"}}',
        '{"to": "someone"}',
    ],
)
def test_words_in_what_people_write_say_nothing(body: str) -> None:
    assert does("POST", "/notebooks", body, JSON) == {"write"}


def test_headers_name_operations_and_open_things() -> None:
    assert "delete" in does("POST", "/soap", "<x/>", "text/xml", SOAPAction='"urn:books#DeleteBook"')
    assert "permission" in does("PUT", "/bucket/key", "x", "text/plain", x_example_acl="public-read")


def test_more_fields_than_can_be_read_count_against_the_request() -> None:
    many = ",".join(f'"k{at}": {{}}' for at in range(20_001))
    assert "delete" in does("POST", "/items", f'{{"status": "open", "all": {{{many}}}}}', JSON)
    assert does("POST", "/items", f"{{{many}}}", JSON) == {"write"}  # no name in it says anything


def test_more_elements_than_can_be_read_count_against_the_request() -> None:
    names = (f"{first}{second}x" for first in string.ascii_letters for second in string.ascii_letters)
    many = "".join(f"<{name}/>" for name in names)
    assert "delete" in does("POST", "/items", f"<a>{many}</a>", "text/xml")


def test_more_operations_than_can_be_read_count_against_the_request() -> None:
    many = (
        "&".join(f"action=look-{'x' * at}" for at in range(1, 50))
        + "&"
        + "&".join(f"action=see-{'x' * at}" for at in range(1, 55))
    )
    assert does("POST", f"/items?{many}") == {"delete"}


def test_a_key_that_is_spelt_with_escapes_says_the_same() -> None:
    assert "permission" in does("POST", "/items", '{"r\\u006fle": "admin"}', JSON)


# -- what the head alone settles -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settled"),
    [
        ("application/octet-stream", True),
        ("image/png", True),
        ("", True),
        (JSON, False),
        (FORM, False),
        ("multipart/form-data; boundary=x", False),
        ("application/xml", False),
    ],
)
def test_an_unread_body_leaves_it_open_only_where_it_has_fields(kind: str, settled: bool) -> None:
    headers = ((b"content-type", kind.encode()),) if kind else ()
    whole = request("PUT", "https://api.example.org/files/report", [], b"x")
    head = decode(replace(whole, headers=headers, body=None))
    assert (head.scalars["consequence"] is not UNKNOWN) is settled
    if settled:
        assert head.scalars["consequence"] == Values(("write",))


# -- in words ------------------------------------------------------------------------------------------


def test_it_is_said_in_words_what_would_happen() -> None:
    assert why("DELETE", "/v1/customers/cus_12345") == (
        "DELETE of 'customers' at api.example.org: data is gone, or something in force ends"
    )
    assert why("POST", "/v1/charges/ch_12345/refund") == (
        "'refund' of 'charges' at api.example.org: money moves or is committed"
    )
    assert why("POST", "/execute", '{"sql": "drop table x"}', JSON).startswith(
        "'execute' at api.example.org; the SQL says 'DROP': data is gone"
    )


def test_a_long_word_that_nobody_knows_is_not_said() -> None:
    assert "xkcdqwrtzxkcdqwrtzxkcdqwrtz" not in why("DELETE", "/hooked/xkcdqwrtzxkcdqwrtzxkcdqwrtz")


# -- limits ----------------------------------------------------------------------------------------------


def test_a_path_that_is_too_long_to_be_read_counts_against_all_but_a_read() -> None:
    long = "/items" * 65
    assert does("POST", long) == {"delete"}
    assert does("GET", long) == {"read"}
    assert does("GET", long, x_http_method_override="POST") == {"delete"}


@pytest.mark.parametrize(
    "target",
    [
        "/" + "a" * 60_000,
        "/" + "deleteUser" * 6_000,
        "/" + ":".join(["a"] * 20_000),
        "/" + ".".join(["ab"] * 20_000),
        "/" + "-".join(["qzx"] * 15_000),
        "/" + "aB" * 30_000,
        "/x?" + "&".join(["action=delete"] * 4_000),
    ],
)
def test_hostile_paths_are_read_as_fast_as_any(target: str) -> None:
    assert does("POST", target) <= set(CONSEQUENCES)


segments = st.text(string.ascii_letters + string.digits + "-_.:@~!$'()*+,=%25", min_size=1, max_size=12)
methods = st.sampled_from(
    ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE", "LIST", "LOCK"]
)


@settings(max_examples=300, deadline=None)
@given(methods, st.lists(segments, max_size=8), st.text(max_size=20))
def test_any_path_is_read_and_always_the_same(method: str, parts: list[str], body: str) -> None:
    target = "/" + "/".join(parts).replace("%", "%25")
    one = request(
        method, f"https://api.example.org{target}", [("content-type", JSON)], body.encode("utf-8", "ignore")
    )
    first, second = decode(one), decode(one)
    assert "could not be decoded" not in (first.unreadable or "")
    assert first.scalars.get("consequence") == second.scalars.get("consequence")
    assert first.consequence in CONSEQUENCES


WORDS = (
    "users charges messages search delete roles tags files send list refund cancel status keys v1 5 abc12345"
)
words = st.sampled_from(WORDS.split())


@settings(max_examples=300, deadline=None)
@given(methods, st.lists(words, min_size=1, max_size=5), st.sampled_from(["GET", "DELETE", "POST", "x"]))
def test_an_override_never_makes_a_request_milder(method: str, parts: list[str], override: str) -> None:
    target = "/" + "/".join(parts)
    plain = does(method, target)
    overridden = does(method, target, x_http_method_override=override)
    assert "read" not in overridden
    assert plain & RISKY <= overridden


@settings(max_examples=200, deadline=None)
@given(
    st.lists(words, min_size=1, max_size=4),
    st.dictionaries(
        st.sampled_from(["status", "role", "to", "text", "sql", "action", "name"]), words, max_size=4
    ),
)
def test_a_body_never_makes_a_request_milder(parts: list[str], body: dict[str, str]) -> None:
    target = "/" + "/".join(parts)
    assert does("POST", target) & RISKY <= does("POST", target, json.dumps(body), JSON)
