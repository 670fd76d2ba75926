"""What a child is told of the proxy and the CA."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.childenv import child_environment, write_bundle
from proxy.demo.authority import Authority
from proxy.errors import SluiceError

CONTRACT = {
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "NODE_USE_ENV_PROXY"),
    *("GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT", "DENO_CERT", "CARGO_HTTP_CAINFO"),
}


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority.make().certificate)
    return path


def environment(ca: Path, base: dict[str, str] | None = None) -> dict[str, str]:
    return child_environment(base or {}, proxy="http://127.0.0.1:9", ca=ca, bundle=ca.with_name("bundle.pem"))


def test_every_variable_of_the_contract_is_set(ca: Path) -> None:
    assert environment(ca).keys() >= CONTRACT


def test_both_spellings_of_a_proxy_variable_name_the_gate(ca: Path) -> None:
    child = environment(ca, {"https_proxy": "http://elsewhere:1", "HTTP_PROXY": "http://elsewhere:1"})
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    assert {child[name] for name in names} | {child[name.lower()] for name in names} == {"http://127.0.0.1:9"}


def test_exceptions_of_the_caller_are_emptied(ca: Path) -> None:
    child = environment(ca, {"NO_PROXY": "*", "no_proxy": "api.stripe.com"})
    assert (child["NO_PROXY"], child["no_proxy"]) == ("", "")


def test_everything_else_of_the_callers_environment_stays(ca: Path) -> None:
    base = {"PATH": "/bin", "API_KEY": "k"}
    assert environment(ca, base).items() >= base.items()
    assert base == {"PATH": "/bin", "API_KEY": "k"}


def test_the_bundle_holds_the_systems_cas_and_the_gates(ca: Path) -> None:
    bundle = write_bundle(ca.parent, ca)
    context = ssl.create_default_context(cafile=str(bundle))
    subjects = [str(certificate["subject"]) for certificate in context.get_ca_certs()]
    assert len(subjects) > 20
    assert any("throw-away" in subject for subject in subjects)


def test_a_bundle_made_inside_another_run_does_not_grow(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_bundle(ca.parent, ca).read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.parent / "ca-bundle.pem"))
    assert write_bundle(ca.parent, ca).read_bytes() == first


def test_certifis_cas_stand_in_where_the_system_has_none(ca: Path) -> None:
    code = (
        "import sys, proxy.childenv as c; from pathlib import Path; c._SYSTEM_BUNDLES = ();"
        "c.ssl.get_default_verify_paths = lambda: c.ssl.DefaultVerifyPaths(None, None, '', '', '', '');"
        "c.write_bundle(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, str(ca.parent), str(ca)], check=True)
    import certifi

    assert Path(certifi.where()).read_bytes().rstrip() in (ca.parent / "ca-bundle.pem").read_bytes()


def test_a_bundle_that_cannot_be_written_says_what_why_and_fix(tmp_path: Path, ca: Path) -> None:
    with pytest.raises(SluiceError) as caught:
        write_bundle(tmp_path / "missing", ca)
    problem = caught.value.problems[0]
    assert problem.what and problem.why and problem.fix
