"""Whatever happens to a judged request, in whatever order, it counts at most once, and for the upstream that it went to first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import BLUE, GET, OK, End, Scene
from tests.proxy.test_exchange_orders import BYTES, CANARIES, EVENTS, RAWS, act

JUDGED, CUT = Live(judged=True), Live(cutback=CutbackMode.CUT, judged=True)
FAILED = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


def judged_scene(*, slow: bool) -> Scene:
    scene = Scene(
        route={"weights": {"canary": 1}, "retry": {"attempts": 2, "on": ["connect", "reset", 503]}},
        upstreams={"blue": {"endpoints": [BLUE]}, "canary": CANARIES},
        hold=slow,
        limits={"per_endpoint": 2},
    )
    scene.publish(JUDGED)
    return scene


def end(scene: Scene) -> None:
    while scene.dials:
        scene.connect()
    assert scene.at_rest


@settings(max_examples=400)
@given(st.sampled_from(RAWS), EVENTS, st.booleans())
def test_request_counts_at_most_once_in_whatever_order_things_happen(raw: bytes, events: list[str], slow: bool) -> None:
    scene = judged_scene(slow=slow)
    client = scene.client().send(raw)
    clock = [0.0]
    for event in events:
        act(scene, client, event, clock)
        if event in ("cut", "cut retry", "cut abort"):
            scene.publish(CUT)  # judged all the same
        elif event in ("restore", "reload"):
            scene.publish(JUDGED)
    client.transport.stuck = False
    client.take()
    client.reset()
    end(scene)
    ended = sum(sum(codes.values()) for codes in scene.codes().values())
    arms = scene.plane.arms.take()
    assert sum(arm.requests for arm in arms) <= ended
    for arm in arms:
        assert arm.bad >= 0
        assert arm.bad + sum(arm.buckets.values()) <= arm.requests


AFTER = ["ok", "503", "reset", "garbage", "refuse", "leave", "cut", "restore", "time"]


def happen(scene: Scene, client: End, event: str, clock: list[float]) -> None:
    """One event of the attempt that is under way."""
    if event == "refuse":
        act(scene, client, "refuse", clock)
    elif event == "leave":
        client.reset()
    elif event in ("cut", "restore"):
        scene.publish(CUT if event == "cut" else JUDGED)
    elif event == "time":
        clock[0] += 70
        scene.pass_time(clock[0])
    else:
        while scene.dials:
            scene.connect()
        if scene.origins and event == "reset":
            scene.origin.reset()
        elif scene.origins:
            scene.origin.send({"ok": OK, "503": FAILED, "garbage": BYTES["garbage"]}[event])


@settings(max_examples=300)
@given(st.sampled_from(["503", "reset", "garbage", "refuse"]), st.lists(st.sampled_from(AFTER), max_size=6))
def test_request_that_its_first_upstream_failed_is_that_ones_whatever_comes_after(first: str, then: list[str]) -> None:
    scene = judged_scene(slow=True)
    client = scene.client().send(GET)
    clock = [0.0]
    for event in [first, *then]:
        happen(scene, client, event, clock)
    client.reset()
    end(scene)
    [arm] = scene.plane.arms.take()
    assert (arm.upstream, arm.requests, arm.bad, arm.buckets) == ("canary", 1, 1, {})


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["cut", "restore"]), max_size=4), st.sampled_from(["ok", "503", "reset"]))
def test_request_that_was_not_sent_yet_counts_where_it_goes_then(before: list[str], last: str) -> None:
    scene = judged_scene(slow=True)
    client = scene.client().send(GET)
    clock = [0.0]
    for event in before:
        happen(scene, client, event, clock)
    happen(scene, client, last, clock)
    went = "blue" if scene.origin.url == BLUE else "canary"
    client.reset()
    end(scene)
    arms = {arm.upstream: (arm.requests, arm.bad) for arm in scene.plane.arms.take()}
    cut = before[-1:] == ["cut"]
    assert went == ("blue" if "cut" in before else "canary")
    assert arms == ({} if cut or went == "blue" else {"canary": (1, 0 if last == "ok" else 1)})
