"""
An agent that tidies up: a real program with real clients, which knows nothing of the gate.

It learns of proxy and CA as any program does, from its environment: urllib for bank and mail,
curl (where it is installed) for files. It reads first; then it does three things at once, and
says what it wants and what it was told.

    python -m proxy.demo.agent
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from proxy.demo.fakes import BANK, FILES, MAIL

RECIPIENTS: Final = 500
AMOUNT: Final = 420000  # cents
CHARGE: Final = "ch_3Qk81"
SUBJECT: Final = "Your account will be closed"

# Longer than anybody takes to decide: it waits like a patient client.
_PATIENCE: Final = 900.0  # seconds

# No keys of anything: the fakes take any.
_BANK_KEY: Final = "sk_demo"
_MAIL_KEY: Final = "SG.demo"
_FILES_KEY: Final = "demo:demo"


@dataclass(frozen=True, slots=True)
class Told:
    """What an API, or the gate in its place, answered."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON, an empty object where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @property
    def words(self) -> str:
        """The answer in one line."""
        if 200 <= self.status < 300:
            return f"done ({self.status})"
        problem = self.json()
        decision = problem.get("decision", "")
        return f"{decision or 'refused'} ({self.status}): {problem.get('detail', '')}"


def ask(method: str, url: str, key: str, body: bytes | None = None, type: str = "") -> Told:
    """One request with urllib, which reads the proxy and the CA from the environment."""
    headers = {"authorization": f"Bearer {key}"} | ({"content-type": type} if type else {})
    request = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as response:  # noqa: S310
            return Told(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Told(error.code, error.read())


def curl(method: str, url: str) -> Told:
    """One signed request with curl, as a script would send it; urllib where there is no curl."""
    if shutil.which("curl") is None:
        return ask(method, url, _FILES_KEY)
    done = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--request", method, "--max-time", str(_PATIENCE)),
            *("--aws-sigv4", "aws:amz:us-east-1:s3", "--user", _FILES_KEY),
            *("--write-out", "\n%{http_code}", url),
        ],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        return Told(0, json.dumps({"detail": done.stderr.decode(errors="replace").strip()}).encode())
    body, _, status = done.stdout.rpartition(b"\n")
    return Told(int(status), body)


def read() -> None:
    """The harmless part."""
    balance = ask("GET", f"https://{BANK}/v1/balance", _BANK_KEY)
    say(f"read the balance: {_amounts(balance, 'available')}")
    charges = ask("GET", f"https://{BANK}/v1/charges?limit=2", _BANK_KEY)
    say(f"read the last charges: {_amounts(charges, 'data')}")
    listing = curl("GET", f"https://{FILES}/?list-type=2")
    archives = f"{listing.body.count(b'<Key>')} archives"
    say(f"listed the bucket customer-backups: {archives if listing.status == 200 else listing.words}")


def _amounts(told: Told, name: str) -> str:
    if told.status != 200:
        return told.words
    return ", ".join(f"{item.get('id', '')} {_money(item['amount'])}".strip() for item in told.json()[name])


def refund() -> None:
    """Money that does not come back by itself."""
    say(f"want to refund {CHARGE}: {_money(AMOUNT)}")
    form = urlencode({"charge": CHARGE, "amount": AMOUNT, "reason": "requested_by_customer"}).encode()
    told = ask("POST", f"https://{BANK}/v1/refunds", _BANK_KEY, form, "application/x-www-form-urlencoded")
    say(f"refund: {told.words}")


def mail() -> None:
    """Words that cannot be called back."""
    say(f"want to mail {RECIPIENTS} customers: '{SUBJECT}'")
    people = [{"email": f"customer-{number:03}@example.com"} for number in range(RECIPIENTS)]
    message = {
        "personalizations": [{"to": [person]} for person in people],
        "from": {"email": "support@example.com"},
        "subject": SUBJECT,
        "content": [{"type": "text/plain", "value": "We are closing accounts that we cannot verify."}],
    }
    body = json.dumps(message).encode()
    say(f"mail: {ask('POST', f'https://{MAIL}/v3/mail/send', _MAIL_KEY, body, 'application/json').words}")


def delete() -> None:
    """Files that are gone."""
    say("want to delete the bucket customer-backups")
    say(f"delete: {curl('DELETE', f'https://{FILES}/').words}")


def say(line: str) -> None:
    """One line on stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _money(cents: int) -> str:
    return f"{cents // 100:,}.{cents % 100:02} USD"


def main() -> int:
    """Read, then do three things at once; 0 however they were answered."""
    read()
    with ThreadPoolExecutor(max_workers=3) as jobs:
        for job in [jobs.submit(task) for task in (refund, mail, delete)]:
            job.result()
    return 0


if __name__ == "__main__":
    sys.exit(main())
