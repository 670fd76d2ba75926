"""Kubernetes and gRPC: what the path tells."""

from typing import Any

import pytest

from proxy.action import UNKNOWN

from .asking import asked, read

HOST = "https://kubernetes.default.svc"


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource", "name", "namespace"),
    [
        ("GET", "/api/v1/namespaces/pay/pods", "list", "pods", (), ("pay",)),
        ("GET", "/api/v1/pods?watch=true", "watch", "pods", (), ()),
        ("GET", "/api/v1/watch/pods", "watch", "pods", (), ()),
        ("GET", "/api/v1/namespaces/pay/pods/web", "get", "pods", ("web",), ("pay",)),
        ("DELETE", "/api/v1/namespaces/pay/pods/web", "delete", "pods", ("web",), ("pay",)),
        ("DELETE", "/api/v1/namespaces/pay/pods", "deletecollection", "pods", (), ("pay",)),
        ("DELETE", "/api/v1/namespaces/pay", "delete", "namespaces", ("pay",), ()),
        ("PUT", "/api/v1/namespaces/pay/finalize", "update", "namespaces/finalize", ("pay",), ()),
        ("POST", "/apis/apps/v1/namespaces/pay/deployments", "create", "deployments", (), ("pay",)),
        ("PATCH", "/apis/apps/v1/namespaces/p/jobs/d/scale", "patch", "jobs/scale", ("d",), ("p",)),
        ("POST", "/api/v1/namespaces/p/pods/w/eviction", "create", "pods/eviction", ("w",), ("p",)),
        ("GET", "/api/v1/namespaces/p/pods/w/exec?command=sh", "connect", "pods/exec", ("w",), ("p",)),
        ("DELETE", "/apis/cert-manager.io/v1alpha2/clusterissuers/x", "delete", "clusterissuers", ("x",), ()),
        ("DELETE", "/k8s/clusters/c-1/api/v1/nodes/n", "delete", "nodes", ("n",), ()),
    ],
)  # fmt: skip
def test_verb_and_resource_are_those_of_rbac(
    method: str, path: str, verb: str, resource: str, name: Any, namespace: Any
) -> None:
    got = asked(method, f"https://10.0.0.1:6443{path}")
    assert read(got, "kubernetes.verb") == (verb,)
    assert read(got, "kubernetes.resource") == (resource,)
    assert read(got, "kubernetes.name") == name
    assert read(got, "kubernetes.namespace") == namespace
    assert got.operation == f"kubernetes:{verb} {resource}"
    assert (got.consequence == "read") is (verb in ("get", "list", "watch"))


@pytest.mark.parametrize(
    "path", ["/api/v1/users/7", "/api/v2/pods", "/apis/v1/pods", "/x/api/v1/pods", "/api/v1"]
)
def test_other_apis_are_none(path: str) -> None:
    got = asked("DELETE", f"{HOST}{path}")
    assert read(got, "kubernetes.verb") == () and got.operation.startswith("DELETE")


@pytest.mark.parametrize(
    ("url", "body", "dry"),
    [
        ("?dryRun=All", b"", True),
        ("?dryRun=all", b"", False),
        ("?dryRun=All&dryRun=All", b"", False),
        ("?dryRun=All&dryRun=None", b"", False),
        ("?dryrun=All", b"", False),
        ("?dryRun=All", {"kind": "DeleteOptions"}, False),
        ("", {"kind": "DeleteOptions", "dryRun": ["All"]}, True),
        ("?dryRun=All", {"dryRun": ["all"]}, False),
    ],
)
def test_a_dry_run_is_one_only_as_the_api_spells_it(url: str, body: Any, dry: bool) -> None:
    got = asked("DELETE", f"{HOST}/api/v1/namespaces/p/pods/w{url}", body)
    assert read(got, "kubernetes.dry_run") == ("true" if dry else "false",)
    assert (got.consequence == "read") is (dry)


def test_a_dry_run_elsewhere_is_a_write_and_in_protobuf_unknown() -> None:
    got = asked("DELETE", "https://a.example/api/v1/namespaces/p/pods/w?dryRun=All")
    assert read(got, "kubernetes.dry_run") == ("true",) and got.consequence != "read"
    proto = asked("DELETE", f"{HOST}/api/v1/pods/w", b"k8s\0", "application/vnd.kubernetes.protobuf")
    assert read(proto, "kubernetes.dry_run") is UNKNOWN


def test_asking_what_one_may_do_is_a_read() -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert asked("POST", f"{HOST}{path}", {}).consequence == "read"
    assert asked("POST", f"https://a.example{path}", {}).consequence != "read"
    other = "/apis/evil.example/v1/selfsubjectaccessreviews"
    assert asked("POST", f"{HOST}{other}", {}).consequence != "read"


def test_a_grpc_call_is_its_path() -> None:
    url = "https://pubsub.googleapis.com/google.pubsub.v1.Publisher/DeleteTopic"
    got = asked("POST", url, b"\0", "application/grpc+proto")
    assert read(got, "grpc.service") == ("google.pubsub.v1.Publisher",)
    assert read(got, "grpc.method") == ("DeleteTopic",)
    assert got.operation == "grpc:google.pubsub.v1.Publisher/DeleteTopic" and got.consequence != "read"
    assert read(asked("POST", "https://a.example/x", b"\0", "application/grpc"), "grpc.method") is UNKNOWN
    assert read(asked("POST", url, {}), "grpc.method") == ()
