"""
AWS: which service, and which action as IAM names it.

All five protocols: query (``Action=``), JSON (``X-Amz-Target``), REST JSON and REST XML (method,
path and query, by AWS's models), and RPC v2 CBOR (the path). A read is believed only of AWS's
own hosts: any other server may take the names of AWS for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Values
from proxy.decode import form, http, multipart
from proxy.decode.aws_hosts import Endpoint, endpoint
from proxy.decode.aws_routes import Services
from proxy.decode.decoded import Body, Decoded, Head

# Services that speak the query protocol, by endpoint.
_QUERY: Final = frozenset(
    [
        "autoscaling",
        "cloudformation",
        "cloudsearch",
        "ec2",
        "elasticache",
        "elasticbeanstalk",
        "elasticloadbalancing",
        "email",
        "iam",
        "importexport",
        "monitoring",
        "queue",
        "rds",
        "redshift",
        "sdb",
        "sns",
        "sqs",
        "sts",
    ]
)
_ACTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,99}")
_TARGET: Final = re.compile(r"[A-Za-z0-9_.-]{1,150}\.([A-Za-z][A-Za-z0-9]{0,99})")
_RPC: Final = re.compile(r"/service/[A-Za-z0-9_.-]{1,150}/operation/([A-Za-z][A-Za-z0-9]{0,99})")
_QUEUE: Final = re.compile(r"/(?:\d{12}/[A-Za-z0-9_-]{1,80}(?:\.fifo)?)?")
_SCOPE: Final = re.compile(r"[^/,\s]+/\d{8}/[a-z0-9-]+/([a-z0-9.-]+)/aws4_request")
_READ: Final = re.compile(
    r"(?:Batch)?(?:Describe|List|Get|Head)(?=[A-Z]|\b).*|(?:Query|Scan|Search|Lookup|Validate|Simulate|Estimate)"
    r"(?:[A-Z].*)?"
)
# Named like reads, but they hand out credentials.
_CREDENTIALS: Final = frozenset(
    {"GetSessionToken", "GetFederationToken", "GetCredentials", "GetRoleCredentials"}
)
# EC2's actions that know no DryRun, and do what they say beside it.
_NO_DRY_RUN: Final = frozenset(
    {
        "AllocateHosts",
        "AssignIpv6Addresses",
        "AssignPrivateIpAddresses",
        "AssociateIamInstanceProfile",
        "AssociateSubnetCidrBlock",
        "AssociateVpcCidrBlock",
        "CancelExportTask",
        "CancelReservedInstancesListing",
        "CreateInstanceExportTask",
        "CreateReservedInstancesListing",
        "CreateVpnConnectionRoute",
        "DeleteVpnConnectionRoute",
        "DisableVpcClassicLinkDnsSupport",
        "DisassociateIamInstanceProfile",
        "DisassociateSubnetCidrBlock",
        "DisassociateVpcCidrBlock",
        "EnableVpcClassicLinkDnsSupport",
        "ModifyHosts",
        "ModifyIdFormat",
        "ModifyIdentityIdFormat",
        "ModifyInstancePlacement",
        "ModifyReservedInstances",
        "ModifySpotFleetRequest",
        "ModifySubnetAttribute",
        "ModifyVpcAttribute",
        "PurchaseHostReservation",
        "ReleaseHosts",
        "ReplaceIamInstanceProfileAssociation",
        "UnassignIpv6Addresses",
        "UnassignPrivateIpAddresses",
    }
)
_NEEDS_UPLOAD: Final = frozenset(
    ["AbortMultipartUpload", "CompleteMultipartUpload", "UploadPart", "UploadPartCopy", "ListParts"]
)


@dataclass(frozen=True, slots=True)
class _Call:
    """`actions` are the operations that this may be; None where nobody can say, () where nothing tells."""

    service: str
    actions: tuple[str, ...] | None
    dry_run: bool | None = False


def decode(head: Head, body: Body, services: Services) -> Decoded | None:
    """What an AWS request asks for; None where it is none."""
    at = endpoint(head.host)
    signed = None if at else _signed_for(head)
    if at is None and signed is None:
        return _UNTOLD if "x-amz-target" in head.headers else None
    service = at or Endpoint(signed or "")
    call = _Call(service.iam, _actions(head, body, service, services), _dry_run(head, body, service))
    return _told(call, ours=at is not None, gets=head.method in ("GET", "HEAD"))


def _signed_for(head: Head) -> str | None:
    """The service in the credential scope of a Signature Version 4."""
    given = head.first("authorization") or ""
    if not given.startswith("AWS4-HMAC-"):
        values = head.parameter("X-Amz-Credential") or (None,)
        given = values[0] or ""
    found = _SCOPE.search(given) if given else None
    return found[1] if found else None


def _actions(head: Head, body: Body, service: Endpoint, services: Services) -> tuple[str, ...] | None:
    if service.service == "s3":
        return _routed(head, service, services)
    if service.service == "apigateway":
        return (head.method,)
    targets = [_TARGET.fullmatch(one or "") for one in head.headers.get("x-amz-target", ABSENT).items]
    given = _parameter(head, body, "Action")
    if given is None:
        return None
    if rpc := _RPC.fullmatch(head.path):
        return None if targets or given else (rpc[1],)
    if targets:
        alone = head.path == "/" and head.method == "POST" and len(targets) == 1 and not given
        return (targets[0][1],) if alone and targets[0] else None
    if given and service.service in _QUERY:
        there = head.path == "/" or (service.iam == "sqs" and _QUEUE.fullmatch(head.path))
        (one,) = given if len(given) == 1 else ("",)
        return (one,) if there and one and _ACTION.fullmatch(one) else None
    return _routed(head, service, services)


def _parameter(head: Head, body: Body, name: str) -> tuple[str | None, ...] | None:
    """All values of a parameter of the query protocol; None where they cannot be known yet."""
    found = head.parameter(name)
    if found is None or multipart.is_form_data(head.kind):
        return None
    if body.empty or not form.is_form(head.kind):
        return found
    if body.form is None or (body.plain is not None and b";" in body.plain):
        return None
    return found + tuple(value for steps, value in body.form if steps == (name,))


def _routed(head: Head, service: Endpoint, services: Services) -> tuple[str, ...] | None:
    """The operation of a REST service; nothing tells it where the models are not there."""
    if head.query is None:
        return None
    known = services.find(service)
    if known is None:
        return ()
    query: dict[str, list[str | None]] = {}
    for steps, value in head.query:
        query.setdefault(steps[0], []).append(value)
    segments = head.segments
    if service.bucket:
        segments = ("*", *segments) if segments != ("",) else ("*",)
    elif len(segments) > 1 and not segments[-1]:
        segments = segments[:-1]
    found = known.actions(head.method, segments, query)
    if service.service == "s3":
        found = tuple(one for one in found if (one in _NEEDS_UPLOAD) == ("uploadId" in query)) or found
    return found


def _dry_run(head: Head, body: Body, service: Endpoint) -> bool | None:
    """Whether the call only asks what would happen; the spelling counts, and so does a second value."""
    match service.service:
        case "ec2":
            return _ec2_dry_run(head, body)
        case "lambda":
            types = head.headers.get("x-amz-invocation-type", ABSENT).items
            return types == ("DryRun",) and head.path.endswith("/invocations")
        case _:
            return False


def _ec2_dry_run(head: Head, body: Body) -> bool | None:
    given, action = _parameter(head, body, "DryRun"), _parameter(head, body, "Action")
    if given is None or action is None:
        return None
    return given == ("true",) and len(action) == 1 and action[0] not in _NO_DRY_RUN


def _told(call: _Call, *, ours: bool, gets: bool) -> Decoded:
    """
    What a call tells; `ours` where the host is AWS's, `gets` where its method promises a read.

    At other hosts the scope of a signature is the agent's own word: it may make a read of
    nothing, and it makes no write of a GET that would be one without it.
    """
    actions = call.actions
    named = tuple(dict.fromkeys(_iam_action(call.service, one) for one in actions or ()))
    shown = f"{call.service}:{'|'.join(named) or 'unknown'}" if actions != () else ""
    dry = " (dry run)" if call.dry_run else ""
    certain = bool(actions) and all(_is_read(one) for one in actions or ())
    reads = ours and (certain or call.dry_run is True)
    return Decoded(
        "aws",
        operation=f"{shown}{dry}",
        names=actions or (),
        reading="read" if reads else None if actions == () or (gets and certain) else "write",
        documents={"aws": _document(call, named)},
    )


def _is_read(action: str) -> bool:
    return action in ("GET", "HEAD", "OPTIONS") or (
        bool(_READ.fullmatch(action)) and action not in _CREDENTIALS
    )


def _document(call: _Call, named: Sequence[str]) -> Document:
    actions = Values(tuple(f"{call.service}:{one}" for one in named)) if named else UNKNOWN
    dry: Reading = UNKNOWN if call.dry_run is None else Values(("true" if call.dry_run else "false",))
    readings: Mapping[Field, Reading] = {
        ("service",): Values((call.service,)),
        ("action",): actions,
        ("dry_run",): dry,
    }
    return lambda name: readings.get(name, UNKNOWN)


_UNTOLD: Final = Decoded("aws", "aws:unknown", reading="write", documents={"aws": http.unknown})

# Operations that IAM knows by another name.
_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {
        "CompleteMultipartUpload": "PutObject",
        "CopyObject": "PutObject",
        "CreateMultipartUpload": "PutObject",
        "DeleteBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
        "DeleteBucketCors": "PutBucketCORS",
        "DeleteBucketEncryption": "PutEncryptionConfiguration",
        "DeleteBucketInventoryConfiguration": "PutInventoryConfiguration",
        "DeleteBucketLifecycle": "PutLifecycleConfiguration",
        "DeleteBucketMetricsConfiguration": "PutMetricsConfiguration",
        "DeleteBucketReplication": "PutReplicationConfiguration",
        "DeleteBucketTagging": "PutBucketTagging",
        "DeleteObjects": "DeleteObject",
        "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
        "GetBucketCors": "GetBucketCORS",
        "GetBucketEncryption": "GetEncryptionConfiguration",
        "GetBucketLifecycle": "GetLifecycleConfiguration",
        "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
        "GetBucketNotificationConfiguration": "GetBucketNotification",
        "GetBucketReplication": "GetReplicationConfiguration",
        "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
        "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
        "HeadBucket": "ListBucket",
        "HeadObject": "GetObject",
        "ListBuckets": "ListAllMyBuckets",
        "ListDirectoryBuckets": "ListAllMyDirectoryBuckets",
        "ListMultipartUploads": "ListBucketMultipartUploads",
        "ListObjectVersions": "ListBucketVersions",
        "ListObjects": "ListBucket",
        "ListObjectsV2": "ListBucket",
        "ListParts": "ListMultipartUploadParts",
        "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
        "PutBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
        "PutBucketCors": "PutBucketCORS",
        "PutBucketEncryption": "PutEncryptionConfiguration",
        "PutBucketInventoryConfiguration": "PutInventoryConfiguration",
        "PutBucketLifecycle": "PutLifecycleConfiguration",
        "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
        "PutBucketMetricsConfiguration": "PutMetricsConfiguration",
        "PutBucketNotificationConfiguration": "PutBucketNotification",
        "PutBucketReplication": "PutReplicationConfiguration",
        "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
        "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
        "SelectObjectContent": "GetObject",
        "UploadPart": "PutObject",
        "UploadPartCopy": "PutObject",
    },
    "lambda": {
        "Invoke": "InvokeFunction",
        "InvokeAsync": "InvokeFunction",
        "InvokeWithResponseStream": "InvokeFunction",
    },
    "bedrock": {"Converse": "InvokeModel", "ConverseStream": "InvokeModelWithResponseStream"},
    "sns": {"PublishBatch": "Publish"},
    "sqs": {
        "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
        "DeleteMessageBatch": "DeleteMessage",
        "SendMessageBatch": "SendMessage",
    },
}


def _iam_action(service: str, operation: str) -> str:
    return _RENAMED.get(service, {}).get(operation, operation)
