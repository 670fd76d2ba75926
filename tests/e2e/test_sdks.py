"""
Real SDKs under `sluice run` and the starter policies, against APIs of the tests' own.

Each agent reads, writes once with a yes and once with a no, and prints what it was told as
JSON, a line a call. It is told of proxy and CA by its environment alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from proxy.demo.authority import Authority

from .product import PATIENCE, SLUICE, Gate, environment, up
from .upstream import Answer, Upstream

POLICIES = Path(__file__).parents[2] / "policies"
STRIPE, SENDGRID, BUCKET = "api.stripe.com", "api.sendgrid.com", "backups.s3.amazonaws.com"
S3 = [BUCKET, "s3.amazonaws.com", "s3.us-east-1.amazonaws.com", "backups.s3.us-east-1.amazonaws.com"]

ANSWERS = {
    ("GET", "/v1/balance"): Answer(body=b'{"object": "balance", "available": [{"amount": 1834}]}'),
    ("POST", "/v1/refunds"): Answer(body=b'{"id": "re_1", "object": "refund", "amount": 4200}'),
    ("POST", "/v3/mail/send"): Answer(202, b""),
}

SAYS = """
import json
def say(what):
    try:
        print(json.dumps({"answer": what()}), flush=True)
    except Exception as error:
        print(json.dumps({"raised": type(error).__name__, "says": READ(error)}), flush=True)
"""

STRIPE_AGENT = """
import os, stripe
READ = str
stripe.api_key = "sk_live_" + "0" * 24
stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]  # it brings a bundle of its own otherwise
say(lambda: stripe.Balance.retrieve().available[0].amount)
for amount in (4200, 9900):
    say(lambda: stripe.Refund.create(charge="ch_1", amount=amount).id)
"""

SENDGRID_AGENT = """
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail
READ = lambda error: error.body.decode()
client = SendGridAPIClient("SG." + "0" * 22)
say(lambda: client.client.scopes.get().status_code)
for to in ("one@example.com", "two@example.com"):
    message = Mail("us@example.com", to, "Offer", plain_text_content="Hello")
    say(lambda: client.send(message).status_code)
"""

BOTO3_AGENT = """
import boto3
def READ(error):
    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    return f"{headers['sluice-decision']}: {headers['sluice-detail']}"
s3 = boto3.client(
    "s3", region_name="us-east-1", aws_access_key_id="AKIA" + "0" * 16, aws_secret_access_key="0" * 40
)
say(lambda: s3.list_objects_v2(Bucket="backups")["KeyCount"])
for key in ("one", "two"):
    say(lambda: s3.put_object(Bucket="backups", Key=key, Body=b"x" * 100)["ETag"])
for key in ("one", "two"):
    say(lambda: s3.delete_object(Bucket="backups", Key=key)["ResponseMetadata"]["HTTPStatusCode"])
say(lambda: s3.list_objects_v2(Bucket="backups")["KeyCount"])
"""


@pytest.fixture(scope="module")
def upstream(authority: Authority) -> Iterator[Upstream]:
    with Upstream(authority, [STRIPE, SENDGRID], ANSWERS) as api:
        yield api


@pytest.fixture(scope="module")
def moto(authority: Authority) -> Iterator[int]:
    """S3 as moto plays it, over TLS; its port."""
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", 0, app, True, 1, MotoRequestHandler, ssl_context=authority.server_context(S3)
    )
    s3_backends["123456789012"]["aws"].create_bucket("backups", "us-east-1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join(PATIENCE)
    server.server_close()


@pytest.fixture(scope="module")
def gate(home: Path, upstream: Upstream, moto: int, upstream_ca: str) -> Iterator[Gate]:
    flags = [*upstream.flags, *(f"--resolve={host}:443:127.0.0.1:{moto}" for host in S3), upstream_ca]
    with up(home, "--policy", POLICIES, *flags) as running:
        yield running
        assert running.stop() == 0
        assert running.sluice("ledger", "verify").status == 0


class Agent:
    """A program under `sluice run`."""

    def __init__(self, gate: Gate, script: str) -> None:
        self._process = subprocess.Popen(
            [SLUICE, "run", "--state", gate.state, "--", sys.executable, "-c", SAYS + script],
            env=environment(gate.home),
            cwd=gate.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self) -> Any:
        """What it was told next."""
        out: IO[str] | None = self._process.stdout
        assert out
        line = out.readline()
        assert line, self._process.communicate()[1]
        return json.loads(line)

    def end(self) -> int:
        self._process.communicate(timeout=PATIENCE)
        return self._process.returncode


@pytest.fixture
def agent(gate: Gate, request: pytest.FixtureRequest) -> Iterator[Agent]:
    running = Agent(gate, request.param)
    yield running
    assert running.end() == 0


def answer(gate: Gate, part: str, rule: str, approves: bool, reason: str = "") -> dict[str, tuple[str, ...]]:
    """Wait for a hold of this rule, answer it; the fields that the reviewer saw."""
    hold = gate.held(part)
    assert hold.rule == rule
    gate.answer(hold, approves, reason)
    return dict(hold.show)


@pytest.mark.parametrize("agent", [STRIPE_AGENT], indirect=True, ids=["stripe"])
def test_stripe_refunds_once_with_a_yes_and_never_with_a_no(
    gate: Gate, upstream: Upstream, agent: Agent
) -> None:
    assert agent.said() == {"answer": 1834}
    saw = answer(gate, "refunds", "stripe-refunds", True)
    assert (saw["form.amount"], saw["form.charge"]) == (("4200",), ("ch_1",))
    assert agent.said() == {"answer": "re_1"}
    answer(gate, "refunds", "stripe-refunds", False, "over the limit of 50 USD")
    told = agent.said()
    assert told["raised"]
    assert "over the limit of 50 USD" in told["says"]
    assert [one.body for one in upstream.got("refunds")] == [b"charge=ch_1&amount=4200"]


@pytest.mark.parametrize("agent", [SENDGRID_AGENT], indirect=True, ids=["sendgrid"])
def test_sendgrid_mails_once_with_a_yes_and_never_with_a_no(
    gate: Gate, upstream: Upstream, agent: Agent
) -> None:
    assert agent.said() == {"answer": 200}
    saw = answer(gate, "mail/send", "sendgrid-sends", True)
    assert saw["email.to"] == ("one@example.com",)
    assert agent.said() == {"answer": 202}
    answer(gate, "mail/send", "sendgrid-sends", False, "ask marketing first")
    told = agent.said()
    assert (told["raised"], json.loads(told["says"])["detail"]) == ("ForbiddenError", "ask marketing first")
    [mail] = upstream.got("mail/send")
    assert json.loads(mail.body)["personalizations"] == [{"to": [{"email": "one@example.com"}]}]


@pytest.mark.parametrize("agent", [BOTO3_AGENT], indirect=True, ids=["boto3"])
def test_boto3_uploads_and_deletes_only_what_was_approved(gate: Gate, agent: Agent) -> None:
    """boto3 shows no body that is not AWS's own, so the decision and its reason are read from the headers."""
    bucket = s3_backends["123456789012"]["aws"].buckets["backups"]
    assert agent.said() == {"answer": 0}
    assert "answer" in agent.said()
    assert "answer" in agent.said()
    answer(gate, "/one", "s3-deletes", False, "backups stay")
    assert agent.said() == {"raised": "ClientError", "says": "denied: backups stay"}
    answer(gate, "/two", "s3-deletes", True)
    assert "answer" in agent.said()
    assert agent.said() == {"answer": 1}
    assert [(key, object.value) for key, object in bucket.keys.items()] == [("one", b"x" * 100)]
