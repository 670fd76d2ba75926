"""Policy files and folders on disk."""

from __future__ import annotations

import os

import pytest
from test_policy_loading import EXAMPLE, one_rule

from proxy.errors import SluiceError
from proxy.policy import load, read_cases
from proxy.policy.files import read_policies
from proxy.policy.source import MAX_BYTES

CASE = "cases:\n  - {name: x, request: GET https://h.example/, expect: allow}\n"


def test_a_folder_is_every_yaml_file_below_it_cases_apart(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text(EXAMPLE)
    (tmp_path / "deep" / "b.yaml").write_text(one_rule(name="b"))
    (tmp_path / "a_cases.yaml").write_text(CASE)
    (tmp_path / "notes.txt").write_text("x")

    assert [rule.name for rule in load([tmp_path]).rules] == ["b", "refunds-wait"]
    assert list(read_cases([tmp_path])) == [str(tmp_path / "a_cases.yaml")]


def test_a_single_file_brings_the_cases_beside_it(tmp_path):
    (tmp_path / "a.yaml").write_text(EXAMPLE)
    (tmp_path / "a_cases.yaml").write_text(CASE)
    (tmp_path / "b_cases.yaml").write_text(CASE)
    assert list(read_cases([tmp_path / "a.yaml"])) == [str(tmp_path / "a_cases.yaml")]
    both = [tmp_path / "a.yaml", tmp_path / "a_cases.yaml"]
    assert list(read_policies(both)) == [str(tmp_path / "a.yaml")]


def test_a_file_named_twice_is_read_once(tmp_path):
    (tmp_path / "a.yaml").write_text(EXAMPLE)
    assert len(load([tmp_path / "a.yaml", tmp_path]).rules) == 1


@pytest.mark.parametrize("make", ["nothing", "empty", "yml", "fifo", "unreadable", "big", "folder"])
def test_what_cannot_be_read_as_a_policy_is_an_error_and_never_left_out(tmp_path, make):
    path = tmp_path / "a.yaml"
    match make:
        case "nothing":
            pass
        case "empty":
            path = tmp_path
        case "yml":
            (tmp_path / "a.yml").write_text(EXAMPLE)
            path = tmp_path
        case "fifo":
            os.mkfifo(path)
        case "unreadable":
            path.symlink_to(tmp_path / "gone.yaml")
        case "big":
            path.write_text("#" * (MAX_BYTES + 1))
        case "folder":
            path.mkdir()
    with pytest.raises(SluiceError) as caught:
        load([path])
    assert all(problem.what and problem.fix for problem in caught.value.problems)


def test_every_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SluiceError) as caught:
        load([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert len(caught.value.problems) == 2
