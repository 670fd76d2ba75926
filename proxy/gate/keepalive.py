"""
Which interim answer keeps an agent waiting while people decide about its request.

An interim answer (RFC 9110, 15.2) feeds the read timer of a client that would give up after a few
seconds. But clients differ, and a wrong guess is worse than silence: some take 102 for the final
answer, so that a request that nobody approved looks done; others break at the first 100. So one is
sent only to what was measured with it (`docs/clients.md`), and whatever is doubtful gets none. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from proxy.action import Request
from proxy.gate import Hearing
from proxy.gate.events import Interim
from proxy.policy.verdict import Keepalive

CONTINUE: Final = 100
PROCESSING: Final = 102

# Their names begin so; all of them wait on after any number of 100s. Those that stand on
# Python's or Java's own HTTP client take a 102 for the answer itself.
_WAITS_ON_100: Final = re.compile(
    rb"python-requests/\d|python-urllib3/\d|Python-urllib/\d|python-httpx/\d|Python/[\d.]+ aiohttp/\d"
    rb"|(?:Async)?OpenAI/Python |(?:Async)?Anthropic/Python |google-genai-sdk/\S+ gl-python/"
    rb"|Stripe/v\d PythonBindings/|Boto3/\d|Botocore/\d|aws-cli/\d|Wget/\d|Java/\d"
)
# Named beside one of those, it is not known which of the two it is.
_OTHERS: Final = re.compile(
    rb"\b(?:node|undici|axios|js|curl|go-http-client|java-http-client|crts3nativeclient)\b", re.IGNORECASE
)


def words(stream_id: int, request: Request, hearing: Hearing) -> Iterator[Interim | None]:
    """
    What an agent is told beat by beat while its request is heard; ends where that is nothing.

    Nothing before a hold has opened: what is merely slow is not kept waiting.
    """
    while hearing.keepalive is None:
        yield None
    status = interim(request, hearing.keepalive)
    while status is not None:
        yield Interim(stream_id, status)


def interim(request: Request, said: Keepalive) -> int | None:
    """
    The status of the interim answers to a held request, None for none; `said` is the rule's word.

    A rule's own 100 or 102 is for clients that nothing is known of: it goes neither to one that is
    known to break at it or to take it for the answer, nor through another proxy.
    """
    if request.version == "HTTP/1.0" or request.header(b"via"):
        return None
    match said:
        case Keepalive.AUTO:
            return _measured(request)
        case Keepalive.CONTINUE:
            return None if _may_be_fetch(request) else CONTINUE
        case Keepalive.PROCESSING:
            return None if _may_be_named(request) and not _is_node_fetch(request) else PROCESSING
        case Keepalive.NONE:
            return None


def _measured(request: Request) -> int | None:
    if request.header(b"upgrade"):
        return None  # a WebSocket's handshake was measured with neither
    if _is_node_fetch(request):
        return PROCESSING
    return CONTINUE if _is_named(request) and not _may_be_fetch(request) else None


def _is_node_fetch(request: Request) -> bool:
    """Node's fetch says both of itself; no browser accepts any language, and no other client has a mode."""
    return request.header(b"sec-fetch-mode") == [b"cors"] and request.header(b"accept-language") == [b"*"]


def _may_be_fetch(request: Request) -> bool:
    return bool(request.header(b"sec-fetch-mode"))


def _is_named(request: Request) -> bool:
    """Whether the one User-Agent is that of a client that was measured with 100."""
    agents = request.header(b"user-agent")
    return len(agents) == 1 and bool(_WAITS_ON_100.match(agents[0])) and not _OTHERS.search(agents[0])


def _may_be_named(request: Request) -> bool:
    return any(_WAITS_ON_100.search(agent) for agent in request.header(b"user-agent"))
