"""
Signed requests: whoever edits one breaks it, and only the agent has the key to sign it again.

Known are AWS Signature Version 4 and its relatives, HTTP Message Signatures (RFC 9421) and their
drafts, HMAC headers as webhooks and exchanges use them, OAuth 1 (RFC 5849), HTTP Digest (RFC 7616),
DPoP (RFC 9449), presigned URLs, and XML signatures. Pure.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

from proxy.action import Request

_SCHEMES: Final = re.compile(
    rb"(?i:aws4-[a-z0-9-]+|aws|goog4-[a-z0-9-]+|goog1|signature|digest|hawk|oauth|dpop|sharedkey(?:lite)?|oss|oss4-[a-z0-9-]+"
    rb"|acs3?-[a-z0-9-]+|acs|tc3-[a-z0-9-]+|sdk-hmac-[a-z0-9-]+|eg1-hmac-[a-z0-9-]+|[a-z0-9-]*hmac[a-z0-9-]*|qbox|qiniu|cos"
    rb"|q-sign-algorithm=\S*)(?=[ ,:&=]|$)"
)
_BEARING: Final = re.compile(rb"(?i)(?:^|[ ,;&?])(?:oauth_)?signature=")
_NAMES: Final = re.compile(
    rb"(?:^|[-_])(?:signature|hmac|sign|sig|dpop|jws)(?:$|[-_](?:input|v?[0-9]+|sha[0-9-]*|ed25519|header|256|512)$)"
)
_QUERY: Final = re.compile(
    r"(?:x-(?:amz|goog|oss|cos|obs|tos)-signature|q-signature|oauth_signature|signature|sig|hmac|sign)",
    re.IGNORECASE,
)
_LONG: Final = 16
"""Characters from which on a parameter of such a name is a signature, and no word of a form."""
_XML: Final = b"http://www.w3.org/2000/09/xmldsig#"


def signed(request: Request) -> str | None:
    """What is signed, and by which place that is known; None for a request that may be edited."""
    for name, value in request.headers:
        low = name.lower()
        if low == b"authorization" and (_SCHEMES.match(value) or _BEARING.search(value)):
            return f"its authorization is a signature ({value.split(b' ')[0][:40].decode('latin-1')})"
        if _NAMES.search(low):
            return f"the header {low[:60].decode('latin-1')} signs it"
    query = request.target.partition(b"?")[2].decode("latin-1")
    if (found := _parameter(query)) is not None:
        return f"the parameter {found[:60]} of its URL signs it"
    return _in_body(request)


def _in_body(request: Request) -> str | None:
    body = request.body or b""
    kind = b", ".join(request.header(b"content-type")).split(b";")[0].strip().lower()
    if kind == b"application/x-www-form-urlencoded":
        found = _parameter(body.decode("latin-1"))
        return None if found is None else f"the field {found[:60]} of its form signs it"
    return "an XML signature is in its body" if _XML in body else None


def _parameter(text: str) -> str | None:
    for pair in re.split(r"[&;]", text):
        name, _, value = pair.partition("=")
        plain = unquote_plus(name[:200])
        if len(value) >= _LONG and _QUERY.fullmatch(plain):
            return plain
    return None
