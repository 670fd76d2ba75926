"""
The Kubernetes API: verb and resource as RBAC names them, from path and query.

On any host whose path has the API's shape: clusters have no names of their own. That a write is
none (a dry run, a question) is believed only of hosts that are a cluster's by their name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Values
from proxy.decode.decoded import Body, Decoded, Head, Told

_CORE: Final = (
    "bindings|componentstatuses|configmaps|endpoints|events|limitranges|namespaces|nodes"
    "|persistentvolumeclaims|persistentvolumes|pods|podtemplates|replicationcontrollers"
    "|resourcequotas|secrets|serviceaccounts|services"
)
_GROUP: Final = r"(?:apps|autoscaling|batch|policy|extensions|[a-z0-9-]+(?:\.[a-z0-9-]+)+)"
_PATH: Final = re.compile(
    r"(?:/k8s/clusters/[^/]+)?"
    rf"/(?:api/v1(?=(?:/watch)?(?:/namespaces/[^/]+)?/(?:{_CORE})(?:/|\Z))|apis/({_GROUP})/v\d+(?:(?:alpha|beta)\d+)?)"
    r"(/watch)?(?:/namespaces/([^/]+)(?=/(?!status(?:/|\Z)|finalize(?:/|\Z))[^/]))?"
    r"/([a-z][a-z0-9-]*)(?:/([^/]+)(?:/([a-z][a-zA-Z0-9-]*)(?:/.*)?)?)?/?"
)
_HOSTS: Final = re.compile(
    r"kubernetes(?:\.default(?:\.svc(?:\.cluster\.local)?)?)?"
    r"|.+\.(?:eks\.amazonaws\.com(?:\.cn)?|azmk8s\.io|gke\.goog|k8s\.ondigitalocean\.com)"
)
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# Subresources that open a way into a container, whatever the method.
_CONNECTS: Final = frozenset({"exec", "attach", "portforward"})
# Created only to be answered: nothing is kept.
_QUESTIONS: Final = frozenset(
    {
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectreviews",
        "selfsubjectrulesreviews",
        "subjectaccessreviews",
        "tokenreviews",
    }
)
_QUESTIONED: Final = frozenset({"authorization.k8s.io", "authentication.k8s.io"})


@dataclass(frozen=True, slots=True)
class _Call:
    verb: str
    resource: str
    name: str | None
    namespace: str | None
    dry_run: bool | None


def decode(head: Head, body: Body) -> Decoded | None:
    """What a request asks of a cluster; None where its path has not the API's shape."""
    found = _PATH.fullmatch(head.path)
    if found is None:
        return None
    group, watch, namespace, resource, name, below = found.groups()
    verb = _verb(head, name, below, watched=bool(watch))
    dry_run = _dry_run(head, body, verb, below)
    kind = f"{resource}/{below}" if below else resource
    call = _Call(verb, kind, name, namespace, dry_run)
    vouched = bool(_HOSTS.fullmatch(head.host))
    asks = verb == "create" and resource in _QUESTIONS and group in _QUESTIONED
    return Decoded(
        "kubernetes",
        operation=f"kubernetes:{verb} {kind}{' (dry run)' if dry_run else ''}",
        names=(verb, *([below] if below else []), resource),
        reading=_reading(verb, reads=vouched and (asks or dry_run is True)),
        documents={"kubernetes": _document(call)},
    )


def _reading(verb: str, *, reads: bool) -> Told | None:
    if reads:
        return "read"
    return None if verb in ("get", "list", "watch") else "write"


def _verb(head: Head, name: str | None, below: str | None, *, watched: bool) -> str:
    if below in _CONNECTS:
        return "connect"
    if head.method in ("GET", "HEAD", "OPTIONS"):
        if watched or any(value not in ("false", "0") for value in head.parameter("watch") or ()):
            return "watch"
        return "get" if name else "list"
    verb = _VERBS.get(head.method, head.method.lower())
    return "deletecollection" if verb == "delete" and not name else verb


def _dry_run(head: Head, body: Body, verb: str, below: str | None) -> bool | None:
    """
    Whether nothing is kept: ``dryRun=All``, exactly and once.

    A delete with a body takes its options from there and ignores the query.
    """
    if verb in ("get", "list", "watch", "connect") or below == "proxy":
        return False
    if verb in ("delete", "deletecollection") and not body.empty:
        if not body.is_json:
            return None
        return isinstance(body.tree, dict) and body.tree.get("dryRun") == ["All"]
    given = head.parameter("dryRun")
    return None if given is None else given == ("All",)


def _document(call: _Call) -> Document:
    dry: Reading = UNKNOWN if call.dry_run is None else Values(("true" if call.dry_run else "false",))
    readings: Mapping[Field, Reading] = {
        ("verb",): Values((call.verb,)),
        ("resource",): Values((call.resource,)),
        ("name",): Values((call.name,)) if call.name else ABSENT,
        ("namespace",): Values((call.namespace,)) if call.namespace else ABSENT,
        ("dry_run",): dry,
    }
    return lambda name: readings.get(name, UNKNOWN)
