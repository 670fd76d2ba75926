"""Names belong to accounts, and all names of one account are one person."""

import pytest

from proxy.errors import Exit, SluiceError
from proxy.hold import Reviewer
from proxy.reviewers import Reviewers, parse, proposals

FILE = {
    "version": 1,
    "reviewers": [
        {"name": "ada", "uid": 1000, "groups": ["finance"]},
        {"name": "ada-on-call", "uid": "1000", "groups": ["finance", "security"]},
        {"name": "bob", "uid": 1001},
    ],
}


def test_without_a_file_an_account_is_its_own_name():
    assert Reviewers().who(1000, "ada") == Reviewer("uid:1000", "ada", account="ada")


def test_without_a_file_no_other_name_can_be_taken():
    with pytest.raises(SluiceError) as caught:
        Reviewers().who(1000, "ada", "bob")
    assert caught.value.exit is Exit.NO


def test_an_account_goes_by_its_first_name_unless_it_asks_for_another():
    reviewers = parse(FILE, "reviewers.yaml")
    assert reviewers.who(1000, "a").name == "ada"
    assert reviewers.who(1000, "a", "ada-on-call").groups == ("finance", "security")


def test_all_names_of_an_account_are_one_person():
    reviewers = parse(FILE, "reviewers.yaml")
    assert reviewers.who(1000, "a").person == reviewers.who(1000, "a", "ada-on-call").person


@pytest.mark.parametrize(("uid", "name"), [(1000, "bob"), (1001, "ada"), (1002, None), (0, None), (1000, "")])
def test_a_name_of_another_account_is_refused(uid, name):
    with pytest.raises(SluiceError) as caught:
        parse(FILE, "reviewers.yaml").who(uid, "account", name)
    assert caught.value.exit is Exit.NO


def entry(**changes):
    return {"version": 1, "reviewers": [{"name": "ada", "uid": 1000, **changes}]}


WRONG = {
    "not a mapping": [],
    "nothing": None,
    "no version": {"reviewers": []},
    "version 2": {"version": 2, "reviewers": []},
    "version true": {"version": True, "reviewers": []},
    "no reviewers": {"version": 1},
    "reviewers no list": {"version": 1, "reviewers": {}},
    "a stranger at the top": {"version": 1, "reviewers": [], "reviewer": []},
    "an entry that is text": {"version": 1, "reviewers": ["ada"]},
    "a stranger in an entry": entry(group=["finance"]),
    "a name with control characters": entry(name="ada\x1b[2J"),
    "an empty name": entry(name=""),
    "a name that is a number": entry(name=7),
    "a negative uid": entry(uid=-1),
    "a uid that is a name": entry(uid="ada"),
    "a uid that is true": entry(uid=True),
    "a uid with zeros before it": entry(uid="01000"),
    "groups as text": entry(groups="finance"),
    "a group that is a number": entry(groups=[1]),
    "a name twice": {"version": 1, "reviewers": [{"name": "a", "uid": 1}, {"name": "a", "uid": 2}]},
}


@pytest.mark.parametrize("document", WRONG.values(), ids=WRONG.keys())
def test_a_mistake_in_the_file_is_an_error_that_names_it(document):
    with pytest.raises(SluiceError) as caught:
        parse(document, "reviewers.yaml")
    assert all(problem.where == "reviewers.yaml" and problem.fix for problem in caught.value.problems)


def test_every_mistake_is_named_at_once():
    document = {"version": 2, "reviewers": [], "revewers": []}
    with pytest.raises(SluiceError) as caught:
        parse(document, "reviewers.yaml")
    assert [problem.what for problem in caught.value.problems] == [
        "unknown field 'revewers' at the top",
        "'version' is not 1",
    ]
    assert caught.value.problems[0].fix == "did you mean 'reviewers'?"


def test_where_reviewers_are_enrolled_the_file_only_proposes():
    file = parse(FILE, "reviewers.yaml")
    enrolled = [("ada", 1000, ("finance",)), ("ada-on-call", 1000, ()), ("bob", 1002, ()), ("eve", 1, ())]
    assert proposals(file, enrolled) == (
        "give 'ada-on-call' the groups finance, security; enrolled with none",
        "'bob' is uid:1001; enrolled for uid:1002, which stays",
        "'eve' is not in the file; enrolled all the same",
    )
    assert proposals(file, enrolled[:1])[0] == "enrol 'ada-on-call' (uid:1000, groups finance, security)"
    assert proposals(Reviewers(), enrolled) == ()


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1hZGUgdXAgZm9yIGEgdGVzdCwgbm8ga2V5IGF0IGFs"


def test_a_key_in_the_file_is_proposed_and_counts_for_nothing_else():
    entry = {"name": "ada", "uid": 1000, "keys": [KEY]}
    file = parse({"version": 1, "reviewers": [entry]}, "reviewers.yaml")
    assert proposals(file, [("bob", 1, ())])[0] == f"enrol 'ada' (uid:1000, groups none, key {KEY})"
    assert file.who(1000, "ada").name == "ada"


@pytest.mark.parametrize("keys", ["x", [1], ["ssh-dss AAAA"], [KEY[:-8]], None])
def test_what_is_no_key_in_the_file_is_an_error(keys):
    with pytest.raises(SluiceError, match="key"):
        parse({"version": 1, "reviewers": [{"name": "ada", "uid": 1000, "keys": keys}]}, "reviewers.yaml")
