"""The audit log verified over the API."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from admin.state.chain import GENESIS
from tests.admin.conftest import Plane


async def test_the_log_of_a_gateway_holds_and_its_head_can_be_expected_later(plane: Plane) -> None:
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 2.5, "canary": 1}, "reason": "ü"})
    await plane.call("POST", "/v1/tokens", json={"name": "ci", "role": "viewer"})
    entries = (await plane.call("GET", "/v1/audit")).json["entries"]
    found = await plane.call("GET", "/v1/audit/verify")
    assert (found.status, found.json) == (
        200,
        {"holds": True, "entries": 3, "head": entries[0]["hash"], "misfit": None, "expected": None},
    )
    await plane.call("POST", "/v1/cutback")
    later = await plane.call("GET", f"/v1/audit/verify?expect={entries[0]['hash'].upper()}")
    assert (later.json["holds"], later.json["entries"], later.json["expected"]) == (True, 6, entries[0]["id"])


async def test_a_removed_entry_is_named_and_a_foreign_head_is_not_found(plane: Plane) -> None:
    for weight in (1, 2, 3):
        await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": weight, "canary": 1}})
    foreign = (await plane.call("GET", f"/v1/audit/verify?expect={'a' * 64}")).json
    assert (foreign["holds"], foreign["entries"], foreign["misfit"]["id"]) == (False, 4, None)
    async with plane.context.store._engine.begin() as connection:
        await connection.execute(text("DELETE FROM audit WHERE id = 2"))
    found = (await plane.call("GET", "/v1/audit/verify")).json
    assert found["misfit"] == {"id": 3, "why": "1 before it is missing"}
    assert (found["holds"], found["entries"]) == (False, 1)


async def test_several_may_ask_at_once(plane: Plane) -> None:
    calls = [plane.call("GET", f"/v1/audit/verify?expect={GENESIS}") for _ in range(5)]
    assert [(each.json["holds"], each.json["expected"]) for each in await asyncio.gather(*calls)] == [(True, 0)] * 5


@pytest.mark.parametrize("expect", ["", "abc", "g" * 64, "a" * 65])
async def test_what_is_no_hash_is_refused(plane: Plane, expect: str) -> None:
    refused = await plane.call("GET", f"/v1/audit/verify?expect={expect}")
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "expect")


async def test_an_entry_that_is_no_json_any_more_is_no_fault_of_the_api(plane: Plane) -> None:
    async with plane.context.store._engine.begin() as connection:
        await connection.execute(text("UPDATE audit SET before = 'no json'"))
    assert (await plane.call("GET", "/v1/audit")).status == 503
    assert (await plane.call("GET", "/v1/audit/verify")).json["misfit"]["id"] == 1
