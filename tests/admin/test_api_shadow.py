"""The live shadow through the API: keys laid over the declared ones, published, stored, refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from routing.shadowing import Shadowing
from tests.admin.conftest import Plane, Start, edit

SHADOW = "/v1/routes/shop/shadow"
DECLARED = (
    "    shadow: {upstream: canary, control: green, percent: 10, compare: {ignore: [$.at], unordered: [$.items]}}\n"
)


def declare(config: Path, text: str = DECLARED) -> None:
    edit(config, "  api:\n", f"{text}  api:\n")


def published(plane: Plane) -> Shadowing:
    """What a worker has for the route now."""
    route = plane.supervisor.snapshot().route_named("shop")
    assert route is not None
    assert route.shadow is not None
    return route.shadow


@pytest.fixture
async def shadowed(config: Path, start: Start) -> Plane:
    declare(config)
    return await start()


async def test_percent_is_published_in_one_small_message_stored_and_answered(shadowed: Plane) -> None:
    plane = shadowed
    answer = await plane.call("PUT", SHADOW, json={"percent": 50, "reason": "more"})
    assert (answer.status, answer.json["shadow"]["percent"], answer.json["revision"]) == (200, 50, 2)
    assert answer.json["receipt"]["persisted"]
    publish = plane.supervisor.published[-1]
    assert (publish.snapshot, list(publish.live), publish.shadowing) == (None, ["shop"], True)
    assert (published(plane).percent, published(plane).control) == (50, "green")
    shadow = (await plane.call("GET", "/v1/routes/shop")).json["shadow"]
    assert (shadow["percent"], shadow["compare"]["ignore"]) == (50, ["$.at"])
    assert shadow["live"] | {"at": ""} == {"by": "admin", "at": "", "reason": "more", "keys": {"percent": 50}}
    entry = (await plane.call("GET", "/v1/audit")).json["entries"][0]
    assert (entry["action"], entry["after"]["shadow"]["given"]) == ("shadow", {"percent": 50})


async def test_keys_set_one_after_the_other_add_up_and_those_of_compare_too(shadowed: Plane) -> None:
    await shadowed.call("PUT", SHADOW, json={"percent": "50%", "compare": {"ignore": ["header:Date"]}})
    answer = await shadowed.call(
        "PUT", SHADOW, json={"control": None, "compare": {"number_tolerance": 0.1}, "timeout": "1s"}
    )
    compare = answer.json["shadow"]["compare"]
    assert (compare["ignore"], compare["unordered"], compare["number_tolerance"]) == (["header:date"], ["$.items"], 0.1)
    shadow = published(shadowed)
    assert (shadow.percent, shadow.control, shadow.timeout, shadow.comparing.ignore) == (
        50,
        None,
        1.0,
        ("header:date",),
    )


async def test_percent_of_zero_turns_it_off_and_the_route_keeps_its_shadow(shadowed: Plane) -> None:
    answer = await shadowed.call("PUT", SHADOW, json={"percent": 0})
    assert (answer.json["shadow"]["percent"], published(shadowed).percent) == (0, 0)


async def test_a_route_without_a_shadow_gets_one_live_with_an_upstream_and_loses_it_again(plane: Plane) -> None:
    assert (await plane.call("GET", "/v1/routes/shop")).json["shadow"] == {}
    assert not plane.supervisor.published[-1].shadowing
    refused = await plane.call("PUT", SHADOW, json={"percent": 5})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "upstream")
    answer = await plane.call("PUT", SHADOW, json={"upstream": "canary", "percent": 5})
    assert (answer.status, published(plane).upstream) == (200, "canary")
    assert plane.supervisor.published[-1].shadowing
    answer = await plane.call("DELETE", SHADOW)
    assert (answer.status, answer.json["shadow"]) == (200, {})
    assert not plane.supervisor.published[-1].shadowing
    assert (await plane.call("DELETE", SHADOW)).status == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"percent": 101}, "percent"),
        ({"percent": -1}, "percent"),
        ({"percent": True}, "percent"),
        ({"upstream": "canray"}, "upstream"),
        ({"upstream": None}, "upstream"),
        ({"control": "nope"}, "control"),
        ({"control": "canary"}, "control"),
        ({"upstream": "blue", "methods": ["POST"]}, "upstream"),
        ({"control": "blue", "methods": ["GET", "PUT"]}, "control"),
        ({"methods": []}, "methods"),
        ({"compare": {"ignore": ["$[", "$.a"]}}, "compare.ignore[0]"),
        ({"compare": {"unordered": ["$.a", "items"]}}, "compare.unordered[1]"),
        ({"compare": {"mask": ["("]}}, "compare.mask[0]"),
        ({"compare": {"ignroe": []}}, "compare.ignroe"),
        ({"headers": {"set": {"host": "x"}}}, "headers.set.host"),
        ({"by": "clients"}, "by"),
        ({"timeout": 0}, "timeout"),
        ({"noise_sample": 2}, "noise_sample"),
        ({"percnet": 1}, "percnet"),
        ({"reason": "nothing else"}, ""),
    ],
)
async def test_what_a_shadow_cannot_be_is_422_naming_the_field(shadowed: Plane, body: Any, field: str) -> None:
    answer = await shadowed.call("PUT", SHADOW, json=body)
    assert (answer.status, [error["field"] for error in answer.json["errors"]]) == (422, [field])
    assert len(shadowed.supervisor.published) == 1


async def test_a_dry_run_and_a_stale_revision_change_nothing(shadowed: Plane) -> None:
    answer = await shadowed.call("PUT", f"{SHADOW}?dry_run=true", json={"percent": 50})
    assert (answer.json["shadow"]["percent"], answer.json["dry_run"]) == (50, True)
    await shadowed.call("PUT", SHADOW, json={"percent": 20})
    stale = await shadowed.call("PUT", SHADOW, json={"percent": 30}, headers={"If-Match": '"1"'})
    assert (stale.status, published(shadowed).percent) == (412, 20)


async def test_another_shadow_upstream_starts_the_diffs_afresh_and_another_percent_does_not(shadowed: Plane) -> None:
    await shadowed.call("PUT", SHADOW, json={"percent": 50})
    assert published(shadowed).since == 0
    answer = await shadowed.call("PUT", SHADOW, json={"upstream": "green", "control": None})
    assert published(shadowed).since == answer.json["shadow"]["since"] == answer.json["revision"]


async def test_live_keys_survive_a_restart_and_win_until_the_files_own_shadow_changes(
    config: Path, start: Start, shadowed: Plane
) -> None:
    await shadowed.call("PUT", SHADOW, json={"percent": 50})
    edit(config, "[$.items]", "[ '$.items' ]")  # written otherwise, and the same
    edit(config, "weights: {blue: 95, canary: 5}", "weights: {blue: 90, canary: 10}")
    shadowed.supervisor.close()
    again = await start()
    assert (published(again).percent, published(again).comparing.unordered) == (50, ("$.items",))
    answer = await again.call("PUT", "/v1/config", json=with_percent(again, 11))
    assert "shadow" in answer.json["dropped"]["shop"]
    assert published(again).percent == 11
    entries = (await again.call("GET", "/v1/audit?route=shop")).json["entries"]
    assert entries[0]["action"] == "live_state_dropped"


def with_percent(plane: Plane, percent: float) -> Any:
    tree = plane.context.gateway.laid.document.tree()
    tree["routes"]["shop"]["shadow"]["percent"] = percent
    return tree


async def test_a_live_shadow_that_the_configuration_no_longer_allows_is_dropped(plane: Plane) -> None:
    await plane.call("PUT", SHADOW, json={"upstream": "canary", "methods": ["POST"]})
    tree = plane.context.gateway.laid.document.tree()
    tree["routes"]["shop"]["stable"] = "canary"
    answer = await plane.call("PUT", "/v1/config", json=tree)
    assert "POST" in answer.json["dropped"]["shop"]
    assert (await plane.call("GET", "/v1/routes/shop")).json["shadow"] == {}
