"""AWS: service and action as IAM names them, in five protocols and on many hosts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.action import UNKNOWN, Action, Request
from proxy.awsmodels import Models, models
from proxy.decode import Facts, decode
from proxy.decode.aws_hosts import Endpoint, endpoint
from proxy.decode.aws_routes import Service, route

from .asking import FORM, asked, read

EC2 = "https://ec2.us-east-1.amazonaws.com/"
DYNAMO = "https://dynamodb.us-east-1.amazonaws.com/"
JSON_1_0 = "application/x-amz-json-1.0"


def form(body: str, url: str = EC2, **more: Any) -> Action:
    return asked("POST", url, body.encode(), f"{FORM}; charset=utf-8", **more)


@pytest.mark.parametrize(
    ("host", "service", "bucket"),
    [
        ("ec2.us-east-1.amazonaws.com", "ec2", False),
        ("ec2-fips.us-gov-west-1.amazonaws.com", "ec2", False),
        ("ec2.us-west-2.api.aws", "ec2", False),
        ("ec2.ap-southeast-2.amazonaws.com", "ec2", False),
        ("ec2.cn-north-1.amazonaws.com.cn", "ec2", False),
        ("123456789012.control-kinesis.us-east-1.amazonaws.com", "kinesis", False),
        ("rds.eu-central-1.amazonaws.com", "rds", False),
        ("rds.ap-southeast-2.api.aws", "rds", False),
        ("rds.eusc-de-east-1.amazonaws.eu", "rds", False),
        ("iam.amazonaws.com", "iam", False),
        ("iam.us-gov.amazonaws.com", "iam", False),
        ("fips.batch.us-east-1.amazonaws.com", "batch", False),
        ("vpce-0a1b.ec2.us-east-1.vpce.amazonaws.com", "ec2", False),
        ("bucket.vpce-0a1b.s3.us-east-1.vpce.amazonaws.com", "s3", False),
        ("s3.amazonaws.com", "s3", False),
        ("s3.us-west-2.amazonaws.com", "s3", False),
        ("s3-us-west-2.amazonaws.com", "s3", False),
        ("s3.dualstack.us-west-2.amazonaws.com", "s3", False),
        ("acme.s3.us-west-2.amazonaws.com", "s3", True),
        ("acme.data.s3.amazonaws.com", "s3", True),
        ("acme.s3-accelerate.dualstack.amazonaws.com", "s3", True),
        ("ap-123.s3-accesspoint.us-west-2.amazonaws.com", "s3", True),
        ("b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", "s3", True),
        ("123456789012.s3-control.us-east-1.amazonaws.com", "s3-control", False),
        ("api.ecr.us-east-1.amazonaws.com", "api.ecr", False),
        ("streams.dynamodb.us-east-1.amazonaws.com", "streams.dynamodb", False),
        ("123456789012.ddb.us-east-1.amazonaws.com", "dynamodb", False),
        ("us-east-1.queue.amazonaws.com", "queue", False),
    ],
)
def test_a_host_is_an_endpoint(host: str, service: str, bucket: bool) -> None:
    assert endpoint(host) == Endpoint(service, bucket)


@pytest.mark.parametrize(
    "host",
    [
        "ec2.us-east-1.amazonaws.com.evil.example",
        "amazonaws.com",
        "abc123.execute-api.us-east-1.amazonaws.com",
        "abc.gr7.us-east-1.eks.amazonaws.com",
        "search-x.us-east-1.es.amazonaws.com",
        "lb-1.us-east-1.elb.amazonaws.com",
        "ec2-1-2-3-4.us-east-1.compute.amazonaws.com",
        "1.dkr.ecr.us-east-1.amazonaws.com",
        "api.stripe.com",
    ],
)
def test_what_a_customer_runs_on_aws_is_not_aws(host: str) -> None:
    assert endpoint(host) is None


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("email", "ses"), ("monitoring", "cloudwatch"), ("api.ecr", "ecr"), ("bedrock-runtime", "bedrock"),
        ("bedrock-agent-runtime", "bedrock"), ("runtime.sagemaker", "sagemaker"), ("queue", "sqs"),
        ("s3-control", "s3"), ("voice-chime", "chime"), ("streams.dynamodb", "dynamodb"), ("ec2", "ec2"),
        ("metering.marketplace", "aws-marketplace"), ("tagging", "tag"),
    ],
)  # fmt: skip
def test_a_service_has_its_name_in_iam(service: str, name: str) -> None:
    assert Endpoint(service).iam == name


def test_the_query_protocol_by_form_and_by_address() -> None:
    got = form("Action=T%65rminateInstances&InstanceId.1=i-1")
    assert read(got, "aws.action") == ("ec2:TerminateInstances",)
    assert read(got, "aws.service") == ("ec2",)
    assert got.operation == "ec2:TerminateInstances" and got.consequence != "read"
    assert form("Action=DescribeInstances").consequence == "read"
    got = asked("GET", f"{EC2}?Action=TerminateInstances")
    assert read(got, "aws.action") == ("ec2:TerminateInstances",) and got.consequence != "read"
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
    assert read(form("Action=PurgeQueue", queue), "aws.action") == ("sqs:PurgeQueue",)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (EC2, "Action=DescribeInstances&Action=TerminateInstances"),
        (f"{EC2}?Action=DescribeInstances", "Action=TerminateInstances"),
        (f"{EC2}?Action=DescribeInstances", "Action=DescribeInstances"),
        (EC2, "Action=Describe-Instances"),
        (EC2, "Action="),
        (EC2, "Action=DescribeInstances;x=1"),
        (f"{EC2}other/path", "Action=DescribeInstances"),
    ],
)
def test_an_action_that_two_readers_could_tell_apart_is_unknown(url: str, body: str) -> None:
    got = form(body, url)
    assert read(got, "aws.action") is UNKNOWN and got.consequence != "read"


def test_an_unread_form_has_no_action_yet_and_multipart_never() -> None:
    assert read(asked("POST", EC2, None, FORM), "aws.action") is UNKNOWN
    body = b'--b\r\nContent-Disposition: form-data; name="Action"\r\n\r\nDescribeInstances\r\n--b--'
    got = asked("POST", EC2, body, "multipart/form-data; boundary=b")
    assert read(got, "aws.action") is UNKNOWN and got.consequence != "read"


@pytest.mark.parametrize(
    ("body", "dry"),
    [
        ("Action=TerminateInstances&DryRun=true", "true"),
        ("Action=TerminateInstances&DryRun=True", "false"),
        ("Action=TerminateInstances&dryrun=true", "false"),
        ("Action=TerminateInstances&DryRun=true&DryRun=false", "false"),
        ("Action=TerminateInstances&DryRun=true&DryRun=true", "false"),
        ("Action=TerminateInstances&DryRun=false", "false"),
        ("Action=ReleaseHosts&DryRun=true", "false"),
        ("DryRun=true", "false"),
    ],
)
def test_a_dry_run_is_one_only_as_ec2_spells_it(body: str, dry: str) -> None:
    got = form(body)
    assert read(got, "aws.dry_run") == (dry,)
    assert (got.consequence == "read") is (dry == "true")


def test_json_by_its_target() -> None:
    def target(name: str, url: str = DYNAMO, **more: str) -> Action:
        return asked("POST", url, {}, JSON_1_0, headers={"x-AMZ-target": name, **more})

    got = target("DynamoDB_20120810.DeleteTable")
    assert read(got, "aws.action") == ("dynamodb:DeleteTable",) and got.consequence != "read"
    assert target("DynamoDB_20120810.ListTables").consequence == "read"
    for name, url in (
        ("DynamoDB_20120810.ListTables", f"{DYNAMO}?Action=ListTables"),
        ("ListTables", DYNAMO),
        ("DynamoDB_20120810.ListTables x", DYNAMO),
        ("DynamoDB_20120810.ListTables", f"{DYNAMO}x"),
    ):
        got = target(name, url)
        assert read(got, "aws.action") is UNKNOWN and got.consequence != "read"
    assert read(asked("POST", DYNAMO, {"TableName": "t"}, JSON_1_0), "json.TableName") == ("t",)


def test_two_formats_that_disagree_are_a_write() -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert asked("POST", DYNAMO, call).consequence == "read"
    deletes = asked("POST", DYNAMO, call, headers={"x-amz-target": "DynamoDB_20120810.DeleteTable"})
    assert deletes.consequence == "delete"


def test_cbor_by_its_path() -> None:
    url = "https://monitoring.us-east-1.amazonaws.com/service/Granite/operation/DeleteAlarms"
    got = asked("POST", url, b"\xa0", "application/cbor", headers={"smithy-protocol": "rpc-v2-cbor"})
    assert read(got, "aws.action") == ("cloudwatch:DeleteAlarms",)


def test_what_hands_out_credentials_is_no_read() -> None:
    assert form("Action=GetSessionToken", "https://sts.amazonaws.com/").consequence != "read"
    assert form("Action=GetCallerIdentity", "https://sts.amazonaws.com/").consequence == "read"


SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0"
)


def test_elsewhere_the_signature_names_the_service_but_vouches_for_no_read() -> None:
    got = form("Action=TerminateInstances", "http://localhost:4566/", headers={"authorization": SIGNED})
    assert read(got, "aws.action") == ("ec2:TerminateInstances",)
    got = form("Action=DescribeInstances", "https://api.example.com/", headers={"authorization": SIGNED})
    assert read(got, "aws.action") == ("ec2:DescribeInstances",) and got.consequence != "read"
    assert read(form("Action=DescribeInstances", "https://api.example.com/"), "aws.action") == ()
    assert (
        read(asked("POST", "https://a.example/", {}, headers={"x-amz-target": "A.B"}), "aws.action")
        is UNKNOWN
    )


# -- REST, by AWS's models ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def facts() -> Facts:
    pytest.importorskip("botocore")
    return Facts(services=models())


S3 = "https://acme.s3.eu-west-1.amazonaws.com"
LAMBDA = "https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/f"
SES = "https://email.us-east-1.amazonaws.com/v2/email"


@pytest.mark.parametrize(
    ("method", "url", "actions", "consequence"),
    [
        ("GET", f"{S3}/key", ("s3:GetObject",), "read"),
        ("GET", f"{S3}/", ("s3:ListBucket",), "read"),
        ("GET", "https://s3.amazonaws.com/", ("s3:ListAllMyBuckets", "s3:ListAllMyDirectoryBuckets"), "read"),
        ("PUT", f"{S3}/a/b", ("s3:PutObject",), "write"),
        ("PUT", f"{S3}/a/b?partNumber=1&uploadId=2", ("s3:PutObject",), "write"),
        ("PUT", f"{S3}/a?acl", ("s3:PutObjectAcl",), "write"),
        ("DELETE", f"{S3}/a", ("s3:DeleteObject",), "write"),
        ("DELETE", f"{S3}/a?uploadId=2", ("s3:AbortMultipartUpload",), "write"),
        ("DELETE", f"{S3}/", ("s3:DeleteBucket",), "write"),
        ("DELETE", "https://s3.eu-west-1.amazonaws.com/acme", ("s3:DeleteBucket",), "write"),
        ("DELETE", "https://s3.eu-west-1.amazonaws.com/acme/", ("s3:DeleteBucket",), "write"),
        ("POST", f"{S3}/?x-id=DeleteObjects&delete=", ("s3:DeleteObject",), "write"),
        ("POST", f"{S3}/?delete&Action=DescribeInstances", ("s3:DeleteObject",), "write"),
        ("DELETE", LAMBDA, ("lambda:DeleteFunction",), "write"),
        ("GET", f"{SES}/account", ("ses:GetAccount",), "read"),
        ("POST", f"{SES}/outbound-emails", ("ses:SendEmail",), "write"),
        ("DELETE", "https://apigateway.us-east-1.amazonaws.com/restapis/x", ("apigateway:DELETE",), "write"),
    ],
)  # fmt: skip
def test_rest_by_method_path_and_query(
    method: str, url: str, actions: tuple[str, ...], consequence: str, facts: Facts
) -> None:
    got = asked(method, url, b"<x/>" if method in ("POST", "PUT") else b"", "application/xml", facts=facts)
    assert read(got, "aws.action") == actions
    assert (got.consequence == "read") is (consequence == "read")


def test_without_the_models_a_rest_action_is_unknown_and_the_method_decides() -> None:
    got = asked("DELETE", f"{S3}/a")
    assert read(got, "aws.service") == ("s3",)
    assert read(got, "aws.action") is UNKNOWN and got.operation.startswith("DELETE")
    assert asked("GET", f"{S3}/a").consequence == "read"


def test_a_target_or_an_action_means_nothing_to_a_bucket() -> None:
    headers = {"x-amz-target": "DynamoDB_20120810.ListTables"}
    assert asked("POST", f"{S3}/?delete", {}, JSON_1_0, headers=headers).consequence != "read"
    assert form("Action=ListTables", f"{S3}/?delete").consequence != "read"


def test_a_dry_run_of_a_function_is_one_only_as_lambda_spells_it() -> None:
    url = f"{LAMBDA}/invocations"
    dry = asked("POST", url, {}, headers={"x-amz-invocation-type": "DryRun"})
    assert read(dry, "aws.dry_run") == ("true",) and dry.consequence == "read"
    real = asked("POST", url, {}, headers={"x-amz-invocation-type": "dryrun"})
    assert read(real, "aws.dry_run") == ("false",) and real.consequence != "read"


def test_models_are_found_by_endpoint_and_the_newest_is_read(tmp_path: Path) -> None:
    def model(folder: str, uri: str, protocol: str = "rest-json") -> None:
        (tmp_path / folder).mkdir(parents=True)
        content = {
            "version": "2.0",
            "metadata": {"endpointPrefix": "things", "protocol": protocol},
            "operations": {"DeleteThing": {"http": {"method": "DELETE", "requestUri": uri}}},
        }
        (tmp_path / folder / "service-2.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))

    model("things/2020-01-01", "/old/{id}")
    model("things/2024-01-01", "/things/{id}")
    model("others/2024-01-01", "/", "query")
    (tmp_path / "broken" / "2024-01-01").mkdir(parents=True)
    (tmp_path / "broken" / "2024-01-01" / "service-2.json.gz").write_bytes(b"no")
    found = Models(tmp_path).find(Endpoint("things"))
    assert found is not None
    assert found.actions("DELETE", ("things", "7"), {}) == ("DeleteThing",)
    assert found.actions("DELETE", ("old", "7"), {}) == ()
    assert Models(tmp_path).find(Endpoint("nothing")) is None


def test_the_closest_route_wins_and_two_as_close_both_count() -> None:
    service = Service(
        [route("A", "GET", "/x/{id}"), route("B", "GET", "/x/y"), route("C", "GET", "/x/{id}?z"),
         route("D", "GET", "/x/{id}?w"), route("E", "GET", "/{any+}")]
    )  # fmt: skip
    assert service.actions("GET", ("x", "1"), {}) == ("A",)
    assert service.actions("GET", ("x", "y"), {}) == ("B",)
    assert service.actions("GET", ("x", "1"), {"z": [""]}) == ("C",)
    assert service.actions("GET", ("x", "1"), {"z": [""], "w": [""]}) == ("C", "D")
    assert service.actions("GET", ("q", "1", "2"), {}) == ("E",)
    assert service.actions("PUT", ("q",), {}) == ()


def test_a_signature_at_another_host_makes_no_write_of_a_get() -> None:
    scope = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/s3/aws4_request, Signature=ab"
    headers = ((b"authorization", scope.encode()),)
    request = Request("uid:me", b"GET", "https", "minio.corp.example", 443, b"/bucket/key", headers, b"")
    assert decode(request, Facts(services=models())).consequence == "read"
    acting = Request("uid:me", b"DELETE", "https", "minio.corp.example", 443, b"/bucket/key", headers, b"")
    assert decode(acting, Facts(services=models())).consequence == "delete"
