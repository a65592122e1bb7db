"""`token`: what it asks of the API, what it prints and where, how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import FakeAdmin, problem

CI: dict[str, Any] = {
    "name": "ci", "role": "operator", "created_at": "2026-12-01T09:30:00.000Z", "created_by": "admin",
    "expires_at": "2027-03-01T09:30:00.000Z", "expired": False, "last_used": None,
}  # fmt: skip
MADE = CI | {"token": "hgt_secret", "dry_run": False, "persisted": True, "warnings": []}


def test_create_prints_the_token_alone_on_standard_output(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers["POST /v1/tokens"] = (201, MADE)
    result = headgate(
        "token", "create", "ci", "--role", "operator", "--expires", "90d", "--reason", "x", "--state", str(state)
    )
    assert (result.code, result.out) == (0, "hgt_secret\n")
    assert result.err == "token ci: operator, expires on 2027-03-01T09:30:00.000Z; it is shown this once\n"
    assert admin.calls[0].body == {"name": "ci", "role": "operator", "expires": "90d", "reason": "x"}


def test_list_shows_who_may_call(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers["GET /v1/tokens"] = (200, {"tokens": [CI, CI | {"name": "old", "expired": True}]})
    result = headgate("token", "list", "--state", str(state))
    assert result.code == 0
    assert result.out.splitlines()[0].split() == ["name", "role", "created", "by", "expires", "last", "used"]
    assert result.out.splitlines()[2].endswith("2027-03-01T09:30:00.000Z EXPIRED  -")


def test_revoke_names_it_in_the_path(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    warning = "revoked, but that is not yet stored"
    admin.answers["DELETE /v1/tokens/ci"] = (200, {"name": "ci", "persisted": False, "warnings": [warning]})
    result = headgate("token", "revoke", "ci", "--reason", "left", "--state", str(state))
    assert (result.code, result.out) == (0, "revoked ci: refused from the next call on\n")
    assert result.err == f"headgate: {warning}\n"
    assert admin.calls[0].body == {"reason": "left"}


@pytest.mark.parametrize(
    ("typed", "line", "answer"),
    [
        (["list"], "GET /v1/tokens", {"tokens": [CI]}),
        (["create", "ci", "--role", "viewer"], "POST /v1/tokens", MADE),
        (["revoke", "ci"], "DELETE /v1/tokens/ci", {"name": "ci", "persisted": True, "warnings": []}),
    ],
)
def test_json_is_the_answer_as_it_came(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str], line: str, answer: dict[str, Any]
) -> None:
    admin.answers[line] = (200, answer)
    result = headgate("token", *typed, "--json", "--state", str(state))
    assert (result.code, json.loads(result.out), result.err) == (0, answer, "")


def test_a_refusal_names_the_field(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers["POST /v1/tokens"] = problem(422, "no", ("expires", "is over already"))
    result = headgate("token", "create", "ci", "--role", "viewer", "--expires", "2020-01-01", "--state", str(state))
    assert (result.code, "expires: is over already" in result.err, result.out) == (1, True, "")


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["create"],
        ["create", "ci"],
        ["create", "ci", "--role", "root"],
        ["revoke"],
        ["revoke", "ci", "--role", "viewer"],
        ["list", "ci"],
        ["forget", "ci"],
    ],
)
def test_what_makes_no_sense_is_a_mistake_of_usage(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str]
) -> None:
    result = headgate("token", *typed, "--state", str(state))
    assert (result.code, admin.calls) == (2, [])


def test_an_expired_token_is_told_from_an_unknown_one(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers["GET /v1/tokens"] = problem(401, 'the token "ci" expired on 2026-01-01T00:00:00.000Z')
    result = headgate("token", "list", "--state", str(state))
    assert (result.code, 'the token "ci" expired on 2026-01-01' in result.err) == (1, True)


def test_audit_says_what_was_done_to_tokens_and_tried_in_vain(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    common = {"at": "t", "route": None, "receipt": None, "reason": ""}
    shown = {"token": "ci", "role": "viewer", "expires_at": None}
    entries = [
        common | {"who": "ann", "action": "token_create", "before": None, "after": shown},
        common | {"who": "ann", "action": "token_revoke", "before": shown, "after": None},
        common
        | {"who": "ci", "action": "refused", "before": None, "after": {"call": "POST /v1/cutback", "status": 403}},
    ]
    admin.answers["GET /v1/audit"] = (200, {"entries": entries, "next": None})
    result = headgate("audit", "--state", str(state))
    assert [line.split(maxsplit=4)[4].removesuffix("-").strip() for line in result.out.splitlines()[1:]] == [
        "ci: viewer", "ci", "POST /v1/cutback: 403",
    ]  # fmt: skip
