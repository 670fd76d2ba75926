"""
Entries as a SIEM takes them: OCSF (API Activity, class 6003, 1.6) and CEF (ArcSight, revision 25).

Pure. Both carry the number and the hash of the entry, OCSF its exact bytes as well
(``raw_data``), so that what a SIEM keeps can be compared with the ledger it came from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from proxy import __version__
from proxy.chain import Entry, cut, moment
from proxy.decision import Word
from proxy.ledger import counted

_CLASS: Final = 6003
_ACTIVITIES: Final = {"POST": 1, "GET": 2, "HEAD": 2, "OPTIONS": 2, "PUT": 3, "PATCH": 3, "DELETE": 4}
_NAMES: Final = {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"}
_OTHER: Final = 99
# action_id and disposition_id of the profile security_control, which takes no 99 for an action.
_ALLOWED, _DENIED, _NO_ACTION = (1, "Allowed"), (2, "Denied"), (0, "Unknown")
_DISPOSITIONS: Final[dict[str, tuple[tuple[int, str], tuple[int, str]]]] = {
    Word.ALLOWED: (_ALLOWED, (1, "Allowed")),
    Word.WATCHED: (_ALLOWED, (17, "Logged")),
    Word.APPROVED: (_ALLOWED, (8, "Approved")),
    Word.DENIED: (_DENIED, (25, "Rejected")),
    Word.PENDING: (_NO_ACTION, (14, "Delayed")),
    Word.UNAVAILABLE: (_DENIED, (27, "Error")),
    Word.FAILED: (_NO_ACTION, (27, "Error")),
    Word.UNKNOWN: (_NO_ACTION, (27, "Error")),
    "held": (_NO_ACTION, (14, "Delayed")),
}
_SAID_BY_KIND: Final = {"held": "held", counted.KIND: Word.ALLOWED}
_MOST: Final = 2_000
_BLOCKED: Final = (_DENIED, (2, "Blocked"))
_RUNS: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

type Fields = Mapping[str, object]


def text(value: object) -> str:
    """A value of an entry as one text: lists with spaces between, nothing for nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(text, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _milliseconds(fields: Fields) -> int:
    return (moment(fields.get("time")) or 0) // 1_000


def _severity(fields: Fields) -> int:
    """OCSF's: 1 informational, 3 medium, 4 high."""
    if fields.get("kind") in ("unwitnessed", "unanchored", "recovered", "clock"):
        return 4
    decision = fields.get("decision")
    quiet = decision in (None, Word.ALLOWED) and fields.get("kind") != "held"
    return 1 if quiet else 3


def _drop_empty(value: dict[str, object]) -> dict[str, object]:
    return {name: one for name, one in value.items() if one not in (None, "", [], {})}


def ocsf(entry: Entry, fields: Fields, ledger: str) -> bytes:
    """One line of JSON; `ledger` is the id in the genesis."""
    reads = fields.get("kind") == counted.KIND
    activity = 2 if reads else _ACTIVITIES.get(str(fields.get("method")), _OTHER)
    event = {
        "activity_id": activity,
        "activity_name": _NAMES[activity],
        "category_uid": 6,
        "class_uid": _CLASS,
        "type_uid": _CLASS * 100 + activity,
        "severity_id": _severity(fields),
        "time": _milliseconds(fields),
        "message": text(fields.get("why") or fields.get("reason") or _reads(fields)),
        "count": counted.total(fields) if reads else None,
        "metadata": {
            "product": {"name": "Sluice", "vendor_name": "Sluice", "version": __version__},
            "version": "1.6.0",
            "profiles": ["security_control"],
            "uid": f"{ledger}:{entry.seq}",
            "sequence": entry.seq,
            "event_code": text(fields.get("kind")),
            "log_name": ledger,
            "original_time": text(fields.get("time")),
        },
        "actor": {"user": {"name": text(_people(fields)) or text(fields.get("agent")) or "sluice"}},
        "api": _drop_empty(
            {
                "operation": text(fields.get("operation") or fields.get("kind")),
                "service": _drop_empty({"name": text(fields.get("host"))}),
                "request": _drop_empty({"uid": text(fields.get("id") or fields.get("hold"))}),
            }
        ),
        "src_endpoint": {"name": text(fields.get("agent")) or "sluice"},
        **_outcome(fields),
        "unmapped": _drop_empty(
            {"hash": entry.hash.hex(), "prev": fields.get("prev"), "rule": fields.get("rule")}
        ),
        "raw_data": entry.body.decode(),
    }
    return json.dumps(_drop_empty(event), ensure_ascii=False).encode() + b"\n"


def _reads(fields: Fields) -> str:
    """What was let through and counted, in words; cut, because the exact entry is beside it."""
    return cut("; ".join(one.words() for one in counted.counts(fields)), _MOST)


def _people(fields: Fields) -> object:
    return fields.get("reviewers") or fields.get("reviewer")


def _outcome(fields: Fields) -> dict[str, object]:
    found: dict[str, object] = {}
    if fields.get("url"):
        url = _drop_empty({"url_string": text(fields["url"]), "hostname": text(fields.get("host"))})
        found["http_request"] = _drop_empty({"http_method": text(fields.get("method")), "url": url})
        found["dst_endpoint"] = _drop_empty({"hostname": text(fields.get("host"))})
    status = fields.get("status")
    if type(status) is int:
        found["http_response"] = {"code": status}
        found["status_id"] = 1 if status < 400 else 2
    word = fields.get("decision") or _SAID_BY_KIND.get(str(fields.get("kind")))
    if word is not None:
        action, disposition = _DISPOSITIONS.get(str(word), _BLOCKED)
        found |= {"action_id": action[0], "action": action[1]}
        found |= {"disposition_id": disposition[0], "disposition": disposition[1]}
    return found


def _header(value: object) -> str:
    return _RUNS.sub(" ", text(value)).replace("\\", "\\\\").replace("|", "\\|")


def _extension(value: object) -> str:
    escaped = text(value).replace("\\", "\\\\").replace("=", "\\=").replace("\r\n", "\n")
    return _RUNS.sub(" ", escaped.replace("\n", "\\n"))


def cef(entry: Entry, fields: Fields, ledger: str) -> bytes:
    """One line; `ledger` is the id in the genesis."""
    kind, decision = text(fields.get("kind")), text(fields.get("decision"))
    names = ("0", "Sluice", "Sluice", __version__, kind, f"{kind} {decision}".strip(), 2 * _severity(fields))
    extensions = {
        "rt": _milliseconds(fields),
        "externalId": f"{ledger}:{entry.seq}",
        "act": decision,
        "reason": fields.get("why") or fields.get("reason") or _reads(fields),
        "cnt": counted.total(fields) or None,
        "sourceServiceName": fields.get("agent"),
        "suser": _people(fields),
        "requestMethod": fields.get("method"),
        "request": fields.get("url"),
        "dhost": fields.get("host"),
        "outcome": fields.get("status"),
        "cn1Label": "seq",
        "cn1": entry.seq,
        "cs1Label": "rule",
        "cs1": fields.get("rules") or fields.get("rule"),
        "cs2Label": "hash",
        "cs2": entry.hash.hex(),
        "cs3Label": "prev",
        "cs3": fields.get("prev"),
        "cs4Label": "hold",
        "cs4": fields.get("hold"),
    }
    said = [f"{name}={_extension(value)}" for name, value in extensions.items() if text(value)]
    return f"CEF:{'|'.join(map(_header, names))}|{' '.join(said)}\n".encode()
