"""Heads that two servers could read differently."""

from __future__ import annotations

_GOOD = b"GET http://127.0.0.1:9/x HTTP/1.1\r\nHost: 127.0.0.1:9\r\n"
_POST = b"POST http://127.0.0.1:9/x HTTP/1.1\r\nHost: 127.0.0.1:9\r\n"

HEADS: dict[str, bytes] = {
    "two lengths": _POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "two equal lengths": _POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "list of lengths": _POST + b"Content-Length: 3, 3\r\n\r\n",
    "signed length": _POST + b"Content-Length: +3\r\n\r\n",
    "padded length": _POST + b"Content-Length: 03\r\n\r\n",
    "hex length": _POST + b"Content-Length: 0x3\r\n\r\n",
    "endless length": _POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "empty length": _POST + b"Content-Length:\r\n\r\n",
    "length and chunked": _POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked and length": _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "two codings": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "two chunked": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "identity": _POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked not last": _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "chunked with a tab": _POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunked in quotes": _POST + b'Transfer-Encoding: "chunked"\r\n\r\n',
    "coding in 1.0": _POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n",
    "folded": _GOOD + b"X: a\r\n b\r\n\r\n",
    "folded first": b"GET http://127.0.0.1:9/x HTTP/1.1\r\n Host: 127.0.0.1:9\r\n\r\n",
    "space before colon": _GOOD + b"X : a\r\n\r\n",
    "space in name": _GOOD + b"X Y: a\r\n\r\n",
    "no colon": _GOOD + b"Xa\r\n\r\n",
    "empty name": _GOOD + b": a\r\n\r\n",
    "name with a null": _GOOD + b"X\0: a\r\n\r\n",
    "name beyond ASCII": _GOOD + b"X\xe9: a\r\n\r\n",
    "value with a null": _GOOD + b"X: a\0b\r\n\r\n",
    "bare CR in a value": _GOOD + b"X: a\rb\r\n\r\n",
    "bare LF in a value": _GOOD + b"X: a\nY: b\r\n\r\n",
    "bare LF after the request line": _GOOD.replace(b"\r\n", b"\n", 1) + b"\r\n",
    "all bare LF": _GOOD.replace(b"\r\n", b"\n") + b"\n",
    "LF CRLF at the end": _GOOD[:-2] + b"\n\r\n",
    "lower-case method": _GOOD.replace(b"GET", b"get") + b"\r\n",
    "method with a slash": _GOOD.replace(b"GET", b"G/T") + b"\r\n",
    "two spaces": _GOOD.replace(b"GET ", b"GET  ") + b"\r\n",
    "tab in the request line": _GOOD.replace(b"GET ", b"GET\t") + b"\r\n",
    "space in the target": _GOOD.replace(b"/x", b"/x y") + b"\r\n",
    "fragment": _GOOD.replace(b"/x", b"/x#y") + b"\r\n",
    "target beyond ASCII": _GOOD.replace(b"/x", b"/\xc3\xbc") + b"\r\n",
    "control in the target": _GOOD.replace(b"/x", b"/\x01") + b"\r\n",
    "no version": _GOOD.replace(b" HTTP/1.1", b"") + b"\r\n",
    "version 2": _GOOD.replace(b"HTTP/1.1", b"HTTP/2.0") + b"\r\n",
    "version 1.2": _GOOD.replace(b"HTTP/1.1", b"HTTP/1.2") + b"\r\n",
    "prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "scheme": _GOOD.replace(b"http:", b"ftp:") + b"\r\n",
    "asterisk": _GOOD.replace(b"http://127.0.0.1:9/x", b"*") + b"\r\n",
    "two hosts": _GOOD + b"Host: 127.0.0.1:9\r\n\r\n",
    "expectation": _POST + b"Content-Length: 1\r\nExpect: 200-ok\r\n\r\n",
    "trailers announced": _POST + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
    "connection takes a header away": _GOOD + b"Authorization: x\r\nConnection: authorization\r\n\r\n",
    "h2c": _GOOD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    "upgrade to h2c alone": _GOOD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "upgrade to anything": _GOOD + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    "two upgrades": _GOOD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
    "upgrade to nothing": _GOOD + b"Connection: Upgrade\r\n\r\n",
    "websocket without a key": _GOOD
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "websocket with a body": _GOOD
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    + b"Sec-WebSocket-Key: a\r\nContent-Length: 1\r\n\r\n",
    "websocket by POST": _POST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a\r\n\r\n",
}

ADDRESSES: dict[str, bytes] = {
    "no host": b"GET http://127.0.0.1:9/x HTTP/1.1\r\n\r\n",
    "origin form": b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n",
    "userinfo": b"GET http://u:p@127.0.0.1:9/x HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n",
    "percent": b"GET http://127.0.0.%31:9/x HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n",
    "trailing dot": b"GET http://api.test./x HTTP/1.1\r\nHost: api.test.\r\n\r\n",
    "empty host": b"GET http://:80/x HTTP/1.1\r\nHost: :80\r\n\r\n",
    "empty label": b"GET http://api..test/x HTTP/1.1\r\nHost: api..test\r\n\r\n",
    "port 0": b"GET http://api.test:0/x HTTP/1.1\r\nHost: api.test:0\r\n\r\n",
    "port 65536": b"GET http://api.test:65536/x HTTP/1.1\r\nHost: api.test:65536\r\n\r\n",
    "padded port": b"GET http://api.test:080/x HTTP/1.1\r\nHost: api.test:080\r\n\r\n",
    "empty port": b"GET http://api.test:/x HTTP/1.1\r\nHost: api.test:\r\n\r\n",
    "short IPv4": b"GET http://127.1:9/x HTTP/1.1\r\nHost: 127.1:9\r\n\r\n",
    "number": b"GET http://2130706433:9/x HTTP/1.1\r\nHost: 2130706433:9\r\n\r\n",
    "hex": b"GET http://0x7f.1:9/x HTTP/1.1\r\nHost: 0x7f.1:9\r\n\r\n",
    "octal": b"GET http://0177.0.0.1:9/x HTTP/1.1\r\nHost: 0177.0.0.1:9\r\n\r\n",
    "long IPv6": b"GET http://[0:0:0:0:0:0:0:1]:9/x HTTP/1.1\r\nHost: [0:0:0:0:0:0:0:1]:9\r\n\r\n",
    "mapped": b"GET http://[::ffff:127.0.0.1]:9/x HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:9\r\n\r\n",
    "zone": b"GET http://[fe80::1%25lo]:9/x HTTP/1.1\r\nHost: [fe80::1%25lo]:9\r\n\r\n",
    "beyond ASCII": b"GET http://b\xc3\xbccher.test/x HTTP/1.1\r\nHost: b\xc3\xbccher.test\r\n\r\n",
    "connect without a port": b"CONNECT api.test HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "connect with a path": b"CONNECT api.test:443/x HTTP/1.1\r\n\r\n",
    "connect with a body": b"CONNECT api.test:443 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    "TLS to the gate itself": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "not HTTP": b"\x00\x01\x02\x03",
}

MISDIRECTED: dict[str, bytes] = {
    "host": b"GET http://api.test/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "port": b"GET http://api.test/x HTTP/1.1\r\nHost: api.test:8080\r\n\r\n",
}
