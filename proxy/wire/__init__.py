"""
What a reviewer sees and does, as values, and the lines in which they cross the control socket.
"""

from proxy.wire.calls import Call, Desk, Failure, Listing, Message, Verb, strange
from proxy.wire.lines import (
    CALL_LIMIT,
    LINE_LIMIT,
    decode,
    encode,
    hold_json,
    rfc3339,
    snapshot_lines,
    whole_json,
)
from proxy.wire.views import Change, HoldView, ReviewView, Snapshot, Status

__all__ = [
    "CALL_LIMIT",
    "LINE_LIMIT",
    "Call",
    "Change",
    "Desk",
    "Failure",
    "HoldView",
    "Listing",
    "Message",
    "ReviewView",
    "Snapshot",
    "Status",
    "Verb",
    "decode",
    "encode",
    "hold_json",
    "rfc3339",
    "snapshot_lines",
    "strange",
    "whole_json",
]
