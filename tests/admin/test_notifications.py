"""Notifications from the call to the receiver: a control plane with receivers in its configuration. And their page in the docs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from admin.events import MOST_FOLLOWERS, MOST_KEPT, MOST_KEPT_BYTES, MOST_WAITING, Feed
from admin.notify.policy import Fate, Pace
from admin.notify.sender import MOST_QUEUED
from routing.check_notifications import PLACEHOLDERS
from routing.config_notifications import EVENTS, MUST_HEAR
from tests.admin.conftest import Start, edit
from tests.admin.receiver import Receiver, receiving, until
from tests.support.fake_supervisor import FakeSupervisor

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
Notify = Callable[..., None]
SECRET = "0123456789abcdef"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows() -> list[list[str]]:
    """Of the page's tables."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        monkeypatch.setenv("HOOK", receiver.url)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        yield receiver


@pytest.fixture
def notify(config: Path, receiver: Receiver) -> Notify:
    """Adds receivers to the configuration."""

    def add(*keys: str) -> None:
        targets = "".join(f"  - {{url: '${{HOOK}}', secret: '${{HOOK_SECRET}}'{each}}}\n" for each in keys)
        edit(config, "upstreams:\n", f"notifications:\n{targets}upstreams:\n")

    return add


async def test_people_hear_of_cutback_and_restore(notify: Notify, start: Start, receiver: Receiver) -> None:
    notify("")
    plane = await start()
    await plane.call("PUT", "/v1/routes/shop/weights", json={"weights": {"blue": 90, "canary": 10}})
    await plane.call("POST", "/v1/routes/shop/cutback", json={"reason": "errors"})
    await plane.call("DELETE", "/v1/routes/shop/cutback")
    cutback, restore = (got.json for got in await receiver.wait(2))
    assert (cutback["event"], cutback["route"], cutback["who"], cutback["reason"]) == (
        "cutback",
        "shop",
        "admin",
        "errors",
    )
    assert (cutback["sentence"], restore["sentence"]) == (
        "admin cut back shop: errors",
        "admin restored shop, now blue 90 %, canary 10 %",
    )
    assert (cutback["weights"], restore["weights"]) == ({"blue": 100}, {"blue": 90, "canary": 10})
    assert cutback["links"] == {"admin": plane.url, "route": f"{plane.url}/v1/routes/shop"}
    assert (cutback["node"], restore["revision"]) == (plane.context.gateway.node, plane.supervisor.revision)


async def test_every_event_of_people_has_a_sentence(notify: Notify, start: Start, receiver: Receiver) -> None:
    notify(", events: [weights, shadow, endpoints, config, cutback]")
    plane = await start()
    await plane.call("POST", "/v1/routes/api/cutback")
    await plane.call("PUT", "/v1/routes/api/weights", json={"weights": {"blue": 1, "green": 3}, "reason": "SHOP-1"})
    await plane.call("PUT", "/v1/routes/shop/shadow", json={"upstream": "green", "percent": 1})
    await plane.call("DELETE", "/v1/routes/shop/shadow")
    endpoint = {"endpoint": "http://127.0.0.1:9011"}
    await plane.call("POST", "/v1/upstreams/blue/endpoints/drain", json=endpoint)
    text = (await plane.call("GET", "/v1/config", headers={"Accept": "application/yaml"})).text
    await plane.call("PUT", "/v1/config", data=text + "\n", headers={"Content-Type": "application/yaml"})
    await receiver.wait(6)
    assert receiver.sentences == [
        "admin cut back api",
        "admin set the weights of api to blue 1, green 3 (it is cut back: they wait for the restore): SHOP-1",
        "admin changed the shadow of shop",
        "admin changed the shadow of shop",
        "admin changed the endpoints of blue",
        "admin replaced the configuration",
    ]


async def test_all_routes_at_once_are_one_notification(notify: Notify, start: Start, receiver: Receiver) -> None:
    notify(", routes: [rest]", ", routes: [api], template: 'api too'")
    plane = await start()
    await plane.call("POST", "/v1/routes/shop/cutback")
    await plane.call("POST", "/v1/cutback")
    got = await receiver.wait(2)
    assert {each.json["text"] for each in got} == {"admin cut back shop, api, rest", "api too"}
    assert [(each.json["route"], each.json["routes"]) for each in got] == [(None, ["shop", "api", "rest"])] * 2


async def test_a_rollout_is_told_once_and_by_its_own_events(notify: Notify, start: Start, receiver: Receiver) -> None:
    notify(", events: [rollout.started, rollout.aborted, weights, cutback, restore]")
    plane = await start()
    plan = {"to": "canary", "steps": [{"weight": 5, "hold": "1h"}]}
    assert (await plane.call("POST", "/v1/routes/rest/rollout", json=plan)).status == 200
    await receiver.wait(1)
    await plane.call("POST", "/v1/routes/rest/rollout/abort")
    started, aborted = (got.json for got in await receiver.wait(2))
    assert started["sentence"] == "rest: the rollout to canary was started by admin: canary, 1 step"
    assert (aborted["event"], aborted["rollout"]["state"]) == ("rollout.aborted", "aborted")
    assert aborted["links"]["route"] == f"{plane.url}/v1/routes/rest/rollout"


async def test_no_change_waits_for_a_receiver(notify: Notify, start: Start, receiver: Receiver) -> None:
    notify("")
    receiver.hold.clear()
    plane = await start()
    for _ in range(3):
        assert (await plane.call("POST", "/v1/routes/shop/cutback")).status == 200
        assert (await plane.call("DELETE", "/v1/routes/shop/cutback")).status == 200
    await receiver.wait(1)
    metrics = (await plane.call("GET", "/metrics")).text
    assert "headgate_notifications_pending 6.0" in metrics
    assert re.findall(r'headgate_notifications_total{outcome="(\w+)"} 0.0', metrics) == [fate.value for fate in Fate]


async def test_a_put_configuration_has_other_receivers(notify: Notify, start: Start, receiver: Receiver) -> None:
    notify("")
    plane = await start()
    async with receiving() as other:
        document = (await plane.call("GET", "/v1/config")).json
        document["notifications"] = [{"url": other.url, "kind": "slack"}]
        assert (await plane.call("PUT", "/v1/config", json=document)).status == 200
        await plane.call("POST", "/v1/routes/shop/cutback")
        assert [got.json["text"] for got in await other.wait(1)] == ["admin cut back shop"]
    assert receiver.got == []


async def test_neither_configuration_nor_log_has_a_secret(
    notify: Notify, config: Path, tmp_path: Path, receiver: Receiver
) -> None:
    notify("")
    receiver.answers.append(410)
    supervisor = FakeSupervisor()
    await supervisor.start(config, cwd=tmp_path)
    await supervisor.ready()
    url, token = ((tmp_path / "state" / name).read_text().strip() for name in ("admin.url", "admin.token"))
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as session:
        for accept in ("application/json", "application/yaml"):
            async with session.get("/v1/config", headers={"Accept": accept}) as response:
                shown = await response.text()
            assert "${HOOK_SECRET}" in shown
            assert not {"very-secret", SECRET} & set(re.findall(r"[\w-]+", shown))
        async with session.post("/v1/routes/shop/cutback"):
            await receiver.wait(1)
        await until(lambda: "notifications cannot be delivered" in supervisor.log())
    assert await supervisor.drain() == 0
    assert "very-secret" not in supervisor.log()
    assert SECRET not in supervisor.log()


# The page


async def test_the_pages_example_verifies_what_is_sent_and_nothing_else(
    notify: Notify, start: Start, receiver: Receiver
) -> None:
    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line]) <= 6
    names: dict[str, Any] = {}
    exec(example, names)
    verify = names["verify"]
    notify("")
    plane = await start()
    await plane.call("POST", "/v1/routes/shop/cutback")
    (got,) = await receiver.wait(1)
    signed = got.headers["x-headgate-signature"]
    assert verify(SECRET, signed, got.body)
    assert not verify("another", signed, got.body)
    assert not verify(SECRET, signed, got.body + b" ")
    stale = re.sub(r"t=\d+", "t=1", signed)
    assert not verify(SECRET, stale, got.body)


async def test_the_page_has_the_keys_of_the_generic_shape(notify: Notify, start: Start, receiver: Receiver) -> None:
    notify(", events: [rollout.started]")
    plane = await start()
    plan = {"to": "canary", "steps": [{"weight": 5, "hold": "1h"}]}
    await plane.call("POST", "/v1/routes/rest/rollout", json=plan)
    (got,) = await receiver.wait(1)
    (shape,) = (json.loads(block) for block in blocks("json"))
    assert list(shape) == list(got.json)
    assert set(shape["rollout"]) - {"…"} <= set(got.json["rollout"])
    assert list(shape["links"]) == list(got.json["links"])


def test_the_page_lists_every_event_default_placeholder_and_outcome() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows()}
    assert [name for name in listed if name in EVENTS] == list(EVENTS)
    assert {name for name, default in listed.items() if default == "yes"} == set(MUST_HEAR)
    assert {fate.value for fate in Fate} <= set(listed)
    assert all(f"`{{{name}}}`" in PAGE for name in PLACEHOLDERS)


def test_the_pages_say_the_bounds_that_hold() -> None:
    pace = Pace()
    assert f"has a queue of {MOST_QUEUED}" in PAGE
    assert (pace.first, pace.longest, pace.age) == (1.0, 300.0, 3600.0)
    assert f"After {pace.attempts} attempts" in PAGE
    api = (Path(__file__).parents[2] / "docs" / "admin-api.md").read_text()
    assert f"The last {MOST_KEPT:,} events are kept, {MOST_KEPT_BYTES >> 20} MiB at most" in api
    assert f"At most {MOST_FOLLOWERS} streams" in api
    assert f"a client for which {MOST_WAITING} events wait" in api
    assert f"A comment comes every {Feed().heartbeat:.0f} s" in api
