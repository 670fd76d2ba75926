"""Which names stand for secrets: of fields, of parameters in a URL, of headers."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET: Final = re.compile(
    r"_(?:passwords?|passwd|passphrase|passcode|pwd|pass|pw|secrets?|token|jwt|bearer|credentials?|authorization|auth"
    r"|cookies?|cvc|cvv|cvn|csc|cid|ssn|otp|totp|pin|pan|mnemonic|seed_phrase|security_code|card_number|cc_number"
    r"|(?:client_)?assertion|code_verifier|auth(?:orization)?_code|session_(?:id|key)|apikeys?|connection_string"
    r"|(?:api|access|secret|private|signing|signature|encryption|master|account|shared|storage|subscription|client"
    r"|auth|service|license|ssh|deploy|webhook|app|application|admin|server|function|host|consumer|hmac)_keys?"
    r"|(?:access|refresh|id|auth|bearer|session|api|csrf|xsrf|bot|security|bypass)_tokens)"
    r"(?:_(?:[0-9]+|confirm(?:ation)?|repeat|again|verify|value|hash|new|old|current|plain|text|raw|encrypted|base))*_$"
)
_PLAIN: Final = re.compile(
    r"_(?:max|min|next|page|prev|previous|continuation|pagination|cursor|start|sync|idempotency|request|client|skip)"
    r"_token_$|_(?:idempotency|(?:web_?)?socket|surrogate|cache|routing|partition|object|sort|primary|foreign|public"
    r"|publishable|message|row|group|dedup|deduplication)_key_$"
)
_COMPACT: Final = re.compile(
    r"(?:password|passwd|passphrase|apikey|accesskey|secretkey|privatekey|secretaccesskey|accesstoken|refreshtoken"
    r"|idtoken|authtoken|sessiontoken|clientsecret|cardnumber|securitycode)$"
)
_IN_URLS: Final = re.compile(
    r"_(?:key|code|sig|signature|hmac|mac|ticket|session|secret|state_token|hash_key)_$"
)
_IN_HEADERS: Final = re.compile(r"_(?:keys?|sig|signature|session|authentication|license|jws|dpop)_$")
_HEADER_PARTS: Final = re.compile(
    r"token|secret|passw|api-?key|cookie|credential|authoriz|signature|session-?id"
)


def _normal(name: str) -> str:
    return f"_{'_'.join(_WORDS.findall(name[:200])).lower()}_"


def secret_name(path: tuple[str, ...]) -> bool:
    """Whether a field is secret, by the names of the steps that lead to it."""
    if len(path) > 1 and any(_SECRET.search(_normal(step)) for step in path[:-1]):
        return True
    name = path[-1]
    normal = _normal(name)
    if _PLAIN.search(normal):
        return False
    if _SECRET.search(normal) or _COMPACT.search(normal.replace("_", "")):
        return True
    if normal in ("_sid_", "_connect_sid_"):  # a session; Twilio's names of resources only end so
        return True
    return normal == "_number_" and any("_card_" in _normal(step) for step in path[:-1])


def secret_parameter(name: str) -> bool:
    normal = _normal(name)
    return not _PLAIN.search(normal) and (secret_name(steps_of(name)) or bool(_IN_URLS.search(normal)))


def secret_header(name: str) -> bool:
    normal = _normal(name)
    if _PLAIN.search(normal):
        return False
    return bool(_HEADER_PARTS.search(name.lower()) or _SECRET.search(normal) or _IN_HEADERS.search(normal))


def steps_of(name: str) -> tuple[str, ...]:
    """``card[number]`` and ``card.number`` as steps."""
    return tuple(step for step in re.split(r"[\[\].]+", name[:400]) if step) or ("",)
