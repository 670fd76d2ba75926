"""
Which AWS service a host is: regional, dual-stack, FIPS, VPC endpoints, China, GovCloud, buckets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# The longest first: a suffix must not hide a longer one.
_SUFFIXES: Final = (
    ".amazonaws.com.cn",
    ".amazonaws.com",
    ".amazonaws.eu",
    ".api.amazonwebservices.com.cn",
    ".api.amazonwebservices.eu",
    ".api.aws",
)
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,9}){1,2}-\d{1,2}")
_S3: Final = re.compile(
    r"s3(?:-accelerate|-control|-fips|-accesspoint|-object-lambda|-outposts|-(?:[a-z]+-)+\d+)?"
)
_EXPRESS: Final = re.compile(r"s3express-[a-z0-9-]+")

# Services whose endpoints have two labels; any other host of two is somebody's own.
_DOTTED: Final = frozenset(
    [
        "agreement.marketplace",
        "api.detective",
        "api.ecr",
        "api.ecr-public",
        "api.iotdeviceadvisor",
        "api.iotwireless",
        "api.mediatailor",
        "api.pricing",
        "api.sagemaker",
        "api.tunneling.iot",
        "catalog.marketplace",
        "controlplane.payment-cryptography",
        "data.iot",
        "data.jobs.iot",
        "data.mediastore",
        "dataplane.payment-cryptography",
        "edge.sagemaker",
        "entitlement.marketplace",
        "featurestore-runtime.sagemaker",
        "a2i-runtime.sagemaker",
        "ingest.timestream",
        "metering.marketplace",
        "metrics.sagemaker",
        "models.lex",
        "participant.connect",
        "portal.sso",
        "query.timestream",
        "runtime.lex",
        "runtime.sagemaker",
        "sms-voice.pinpoint",
        "streams.dynamodb",
    ]
)
_IAM: Final = {
    "appstream2": "appstream",
    "cassandra-streams": "cassandra",
    "cloudhsmv2": "cloudhsm",
    "ddb": "dynamodb",
    "email": "ses",
    "entitlement.marketplace": "aws-marketplace",
    "metering.marketplace": "aws-marketplace",
    "catalog.marketplace": "aws-marketplace",
    "agreement.marketplace": "aws-marketplace",
    "data.jobs.iot": "iotjobsdata",
    "models-v2-lex": "lex",
    "runtime-v2-lex": "lex",
    "monitoring": "cloudwatch",
    "mturk-requester": "mechanicalturk",
    "oidc": "sso-oauth",
    "participant.connect": "connect",
    "pinpoint": "mobiletargeting",
    "portal.sso": "awsssoportal",
    "queue": "sqs",
    "servicecatalog-appregistry": "servicecatalog",
    "sms-voice.pinpoint": "sms-voice",
    "tagging": "tag",
}
# Endpoints below which an account's number is a label.
_BY_ACCOUNT: Final = {"ddb": "dynamodb", "control-kinesis": "kinesis", "data-kinesis": "kinesis"}
_FAMILIES: Final = re.compile(r"(bedrock|personalize|lakeformation|s3|chime)(?:-.*)?|.*-(chime)")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    A service's endpoint, as AWS's own models name it (``email``, ``runtime.sagemaker``).

    `bucket` says that the host names a bucket: then the path is the key alone.
    """

    service: str
    bucket: bool = False

    @property
    def iam(self) -> str:
        """The service as IAM names it: ``ses``, ``cloudwatch``."""
        return iam_name(self.service)


def iam_name(service: str) -> str:
    """The prefix of a service's actions in IAM, of its endpoint's or its signature's name."""
    named = _IAM.get(service)
    if named is not None:
        return named
    last = service.rpartition(".")[2]
    family = _FAMILIES.fullmatch(last)
    return (family[1] or family[2]) if family else last


def endpoint(host: str) -> Endpoint | None:
    """The AWS endpoint that a host is; None for any other, also one that a customer runs on AWS."""
    if not host.endswith(_SUFFIXES):
        return None
    suffix = next(one for one in _SUFFIXES if host.endswith(one))
    labels = host.removesuffix(suffix).split(".")
    if labels[-1] == "vpce":
        labels = _inside_vpc(labels[:-1])
    if len(labels) > 1 and _REGION.fullmatch(labels[-1]):
        labels.pop()
    elif len(labels) == 2 and _REGION.fullmatch(labels[0]) and labels[1] == "queue":
        labels = labels[1:]
    elif len(labels) == 2 and labels[1] == "us-gov":
        labels.pop()
    labels = [label.removesuffix("-fips") for label in labels if label not in ("dualstack", "fips")]
    return _service(labels) if labels else None


def _inside_vpc(labels: list[str]) -> list[str]:
    at = next((at for at, label in enumerate(labels) if label.startswith("vpce-")), None)
    # bucket.vpce-… and accesspoint.vpce-… are path-style: what stands before says only which.
    return labels if at is None else labels[at + 1 :]


def _service(labels: list[str]) -> Endpoint | None:
    last = labels[-1]
    if _S3.fullmatch(last) or _EXPRESS.fullmatch(last):
        if last == "s3-control":
            return Endpoint(last)
        return Endpoint("s3", bucket=len(labels) > 1)
    name = ".".join(labels)
    if len(labels) == 1 or name in _DOTTED:
        return Endpoint(name)
    if len(labels) == 2 and last in _BY_ACCOUNT and labels[0].isdigit():
        return Endpoint(_BY_ACCOUNT[last])
    return None
