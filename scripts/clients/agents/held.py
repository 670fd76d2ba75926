"""
One request with one of Python's clients: python held.py KIND

`TARGET` is the URL; `READ` the read timeout in seconds, empty for the client's own; `AGENT`
another User-Agent. One JSON line for each answer that the program gets: ``{"status", "saw"}``, or
``{"raised"}``.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import urllib.request
from typing import Any
from urllib.parse import urlsplit

TARGET = os.environ["TARGET"]
READ = float(os.environ["READ"]) if os.environ.get("READ") else None
AGENT = {"User-Agent": os.environ["AGENT"]} if os.environ.get("AGENT") else {}
PROXY = urlsplit(os.environ["HTTPS_PROXY"])
KEY = "0" * 40
RELEASED = "released"


def with_requests() -> tuple[int, str]:
    import requests

    answer = requests.post(TARGET, json={}, headers=AGENT, timeout=READ)
    return answer.status_code, answer.text


def with_urllib3() -> tuple[int, str]:
    import urllib3

    timeout = urllib3.Timeout(read=READ) if READ else urllib3.Timeout.DEFAULT_TIMEOUT
    pool = urllib3.ProxyManager(PROXY.geturl(), ca_certs=os.environ["SSL_CERT_FILE"])
    headers = AGENT or {"User-Agent": f"python-urllib3/{urllib3.__version__}"}
    answer = pool.request("POST", TARGET, body=b"{}", headers=headers, timeout=timeout, retries=False)
    return answer.status, answer.data.decode()


def with_http_client() -> tuple[int, str]:
    import ssl

    url, tls = urlsplit(TARGET), ssl.create_default_context()
    more: dict[str, Any] = {"timeout": READ} if READ else {}
    wire = http.client.HTTPSConnection(PROXY.hostname or "", PROXY.port, context=tls, **more)
    wire.set_tunnel(url.hostname or "", 443)
    wire.request("POST", url.path, b"{}", AGENT)
    answer = wire.getresponse()
    return answer.status, answer.read().decode()


def with_urllib() -> tuple[int, str]:
    asked = urllib.request.Request(TARGET, b"{}", AGENT)
    more: dict[str, Any] = {"timeout": READ} if READ else {}
    with urllib.request.urlopen(asked, **more) as answer:
        return answer.status, answer.read().decode()


def with_httpx(http2: bool = False) -> tuple[int, str]:
    import httpx

    more: dict[str, Any] = {"timeout": READ} if READ else {}
    with httpx.Client(http2=http2, **more) as client:
        answer = client.post(TARGET, json={}, headers=AGENT)
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    return answer.status_code, answer.text


def with_httpx_h2() -> tuple[int, str]:
    return with_httpx(http2=True)


async def with_async_httpx() -> tuple[int, str]:
    import httpx

    more: dict[str, Any] = {"timeout": READ} if READ else {}
    async with httpx.AsyncClient(**more) as client:
        answer = await client.post(TARGET, json={}, headers=AGENT)
    return answer.status_code, answer.text


async def with_aiohttp() -> tuple[int, str]:
    import aiohttp

    more: dict[str, Any] = {"timeout": aiohttp.ClientTimeout(sock_read=READ)} if READ else {}
    async with (
        aiohttp.ClientSession(trust_env=True, headers=AGENT, **more) as session,
        session.post(TARGET, json={}) as answer,
    ):
        return answer.status, await answer.text()


def with_openai() -> tuple[int, str]:
    import openai

    more: dict[str, Any] = {"timeout": READ} if READ else {}
    client = openai.OpenAI(api_key=KEY, base_url=f"{TARGET}/v1", **more)
    said = client.chat.completions.with_raw_response.create(
        model="m", messages=[{"role": "user", "content": "hello"}]
    )
    return said.http_response.status_code, str(said.parse().choices[0].message.content)


async def with_async_openai() -> tuple[int, str]:
    import openai

    more: dict[str, Any] = {"timeout": READ} if READ else {}
    client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{TARGET}/v1", **more)
    said = await client.chat.completions.with_raw_response.create(
        model="m", messages=[{"role": "user", "content": "hello"}]
    )
    return said.http_response.status_code, str(said.parse().choices[0].message.content)


def with_anthropic() -> tuple[int, str]:
    import anthropic

    more: dict[str, Any] = {"timeout": READ} if READ else {}
    client = anthropic.Anthropic(api_key=KEY, base_url=TARGET, **more)
    said = client.messages.with_raw_response.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
    )
    return said.http_response.status_code, str(said.parse().content[0].text)


def with_genai() -> tuple[int, str]:
    from google import genai

    options: dict[str, Any] = {"base_url": TARGET} | ({"timeout": int(READ * 1000)} if READ else {})
    client = genai.Client(api_key=KEY, http_options=options)
    said = client.models.generate_content(model="m", contents="hello")
    return 200, str(said.text)


def with_stripe() -> tuple[int, str]:
    import stripe

    stripe.api_key, stripe.api_base = f"sk_test_{KEY[:24]}", TARGET
    stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]  # it brings a bundle of its own otherwise
    if READ:
        stripe.default_http_client = stripe.RequestsClient(timeout=READ)
    refund = stripe.Refund.create(charge="ch_1", amount=100)
    return int(refund.last_response.code), refund.id


def with_boto3(service: str = "dynamodb") -> Any:
    import boto3
    from botocore.config import Config

    more: dict[str, Any] = {"read_timeout": READ} if READ else {}
    config = Config(s3={"addressing_style": "path"}, **more)
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=TARGET,
        aws_access_key_id="AKIA" + KEY[:16],
        aws_secret_access_key=KEY,
        config=config,
    )


def with_dynamodb() -> tuple[int, str]:
    said = with_boto3().list_tables()
    return said["ResponseMetadata"]["HTTPStatusCode"], " ".join(said["TableNames"])


def with_s3() -> tuple[int, str]:
    said = with_boto3("s3").put_object(Bucket="held-for-long", Key="one", Body=b"{}")
    return said["ResponseMetadata"]["HTTPStatusCode"], RELEASED  # S3 says nothing in the body


KINDS = {
    "requests": with_requests,
    "urllib3": with_urllib3,
    "http.client": with_http_client,
    "urllib": with_urllib,
    "httpx": with_httpx,
    "httpx-h2": with_httpx_h2,
    "httpx-async": with_async_httpx,
    "aiohttp": with_aiohttp,
    "openai": with_openai,
    "openai-async": with_async_openai,
    "anthropic": with_anthropic,
    "google-genai": with_genai,
    "stripe": with_stripe,
    "boto3-dynamodb": with_dynamodb,
    "boto3-s3": with_s3,
}


def main() -> None:
    """Ask once, say what came."""
    ask: Any = KINDS[sys.argv[1]]
    try:
        status, saw = asyncio.run(ask()) if asyncio.iscoroutinefunction(ask) else ask()
        print(json.dumps({"status": status, "saw": saw}), flush=True)
    except Exception as error:
        print(json.dumps({"raised": f"{type(error).__name__}: {error}"[:300]}), flush=True)


if __name__ == "__main__":
    main()
