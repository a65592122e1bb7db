"""Tokens over the API: in force at once, kept by digest, told apart when they fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from admin import tokens as tokens_module
from admin.auth import digest_of
from admin.state.store import Change, StoreError
from admin.tokens import PREFIX
from proxy.control import Drain
from tests.admin.conftest import Answer, Plane, Start


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def create(plane: Plane, **body: Any) -> Answer:
    return await plane.call("POST", "/v1/tokens", json={"name": "ci", "role": "operator"} | body)


async def as_who(plane: Plane, token: str) -> int:
    return (await plane.bare("GET", "/v1/status", headers=bearer(token))).status


async def audited(plane: Plane) -> list[dict[str, Any]]:
    """What people did, the oldest first."""
    entries = (await plane.call("GET", "/v1/audit")).json["entries"]
    return [entry for entry in reversed(entries) if entry["who"] != "file"]


async def end(plane: Plane) -> None:
    plane.supervisor.send(Drain(1.0))
    await plane.supervisor.until(lambda: plane.supervisor._lost, 10.0)
    plane.supervisor.close()


def break_store(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(expected: int, change: Change) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(plane.context.store, "commit", commit)


async def test_a_token_is_shown_once_and_holds_at_once(plane: Plane) -> None:
    revision = plane.context.gateway.revision
    made = await create(plane, expires="90d", reason="SHOP-9")
    assert made.status == 201
    token = made.json.pop("token")
    assert token.startswith(PREFIX)
    assert len(token) >= 43
    assert (made.json["persisted"], made.json["created_by"], made.json["warnings"]) == (True, "admin", [])
    assert await as_who(plane, token) == 200
    listed = await plane.call("GET", "/v1/tokens")
    assert token not in listed.text
    assert digest_of(token) not in listed.text
    assert [each["name"] for each in listed.json["tokens"]] == ["admin", "ci"]
    assert listed.json["tokens"][1]["expires_at"] == made.json["expires_at"]
    assert listed.json["tokens"][1]["last_used"] is not None
    assert plane.context.gateway.revision == revision  # no worker is told of it
    assert token.encode() not in b"".join(file.read_bytes() for file in plane.folder.glob("state.sqlite3*"))


async def test_a_token_acts_under_its_name_within_its_role(plane: Plane) -> None:
    token = (await create(plane)).json["token"]
    answer = await plane.bare("PUT", "/v1/routes/shop/weights", headers=bearer(token), json={"weights": {"blue": 1}})
    assert answer.status == 200
    assert (await plane.bare("POST", "/v1/tokens", headers=bearer(token), json={})).status == 403
    assert (await plane.bare("GET", "/v1/tokens", headers=bearer(token))).status == 403
    assert [(entry["who"], entry["action"]) for entry in await audited(plane)] == [
        ("admin", "token_create"),
        ("ci", "weights"),
        ("ci", "refused"),
    ]


async def test_a_revoked_token_is_refused_from_the_next_call_on_and_after_a_restart(start: Start) -> None:
    plane = await start()
    kept = (await create(plane, name="kept")).json["token"]
    token = (await create(plane)).json["token"]
    gone = await plane.call("DELETE", "/v1/tokens/ci", json={"reason": "left"})
    assert (gone.status, gone.json) == (200, {"name": "ci", "dry_run": False, "persisted": True, "warnings": []})
    refused = await plane.bare("GET", "/v1/status", headers=bearer(token))
    nobody = await plane.bare("GET", "/v1/status")
    assert (refused.status, refused.text) == (401, nobody.text)
    await end(plane)
    again = await start()
    assert (await as_who(again, token), await as_who(again, kept)) == (401, 200)
    entry = (await audited(again))[-1]
    assert (entry["action"], entry["reason"], entry["after"]) == ("token_revoke", "left", None)
    assert entry["before"] == {"token": "ci", "role": "operator", "expires_at": None}


async def test_a_revocation_holds_while_the_store_fails_and_says_so(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = (await create(plane)).json["token"]
    break_store(plane, monkeypatch)
    gone = await plane.call("DELETE", "/v1/tokens/ci")
    assert (gone.status, gone.json["persisted"]) == (200, False)
    assert "not yet stored" in gone.json["warnings"][0]
    assert await as_who(plane, token) == 401
    made = await create(plane, name="cd")
    assert (made.status, made.json["persisted"]) == (201, False)
    assert await as_who(plane, made.json["token"]) == 200
    monkeypatch.undo()
    assert (await create(plane, name="ce")).json["persisted"]
    assert [each.name for each in await plane.context.store.tokens()] == ["admin", "cd", "ce"]


async def test_an_expired_token_is_told_so_whatever_it_asks_for(plane: Plane) -> None:
    token = (await create(plane, expires="2099-01-01")).json["token"]
    tokens = plane.context.tokens
    tokens.put(replace(tokens.named("ci"), expires_at="2026-01-01T00:00:00.000Z"))
    answer = await plane.bare("GET", "/nope", headers=bearer(token))
    assert (answer.status, answer.json["detail"]) == (401, 'the token "ci" expired on 2026-01-01T00:00:00.000Z')
    listed = (await plane.call("GET", "/v1/tokens")).json["tokens"]
    assert [each["expired"] for each in listed] == [False, True]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "ann@example.com (oidc)"}, "name"),
        ({"name": "SIGHUP"}, "name"),
        ({"role": "root"}, "role"),
        ({"expires": "soon"}, "expires"),
        ({"expires": "2020-01-01"}, "expires"),
        ({"expires": 90}, "expires"),
        ({"scope": "all"}, "scope"),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused_by_field(plane: Plane, body: dict[str, Any], field: str) -> None:
    answer = await create(plane, **body)
    assert (answer.status, [error["field"] for error in answer.json["errors"]]) == (422, [field])
    assert len(plane.context.tokens) == 1


async def test_what_the_tokens_there_are_do_not_allow_is_a_conflict(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(plane)
    monkeypatch.setattr(tokens_module, "MOST", 2)
    for name, why in (("ci", "already"), ("admin", "admin.token"), ("cd", "the most")):
        answer = await create(plane, name=name)
        assert (answer.status, why in answer.json["detail"]) == (409, True)
    answer = await plane.call("DELETE", "/v1/tokens/admin")
    assert (answer.status, "put another in it" in answer.json["detail"]) == (409, True)
    assert (await plane.call("DELETE", "/v1/tokens/nobody")).status == 404
    assert (await plane.call("GET", "/v1/status")).status == 200
    assert [entry["action"] for entry in await audited(plane)] == ["token_create", *["refused"] * 5]


async def test_a_dry_run_makes_and_revokes_nothing(plane: Plane) -> None:
    answer = await plane.call("POST", "/v1/tokens?dry_run=true", json={"name": "ci", "role": "viewer", "expires": "1d"})
    assert (answer.status, answer.json["token"], answer.json["dry_run"]) == (200, None, True)
    token = (await create(plane)).json["token"]
    assert (await plane.call("DELETE", "/v1/tokens/ci?dry_run=true")).json["dry_run"] is True
    assert await as_who(plane, token) == 200
    assert (await create(plane)).status == 409
    assert (await plane.call("POST", "/v1/tokens?dry_run=true", json={"name": "ci", "role": "viewer"})).status == 409
    assert [entry["action"] for entry in await audited(plane)] == ["token_create", "refused"]  # a dry run is a question


async def test_another_token_in_the_file_counts_from_the_next_start(start: Start) -> None:
    plane = await start()
    old = plane.token
    await end(plane)
    (plane.folder / "admin.token").write_text("another one\n")
    again = await start()
    assert (again.token, await as_who(again, "another one"), await as_who(again, old)) == ("another one", 200, 401)
