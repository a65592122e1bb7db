"""Where a request goes: the order of cutback, rules, stickiness and weights, and live state laid over the file's."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from time import process_time
from typing import Any

import pytest

from routing.decide import Decision, Reason, decide
from routing.request import Place, Request
from routing.snapshot import AS_DECLARED, CutbackMode, Live, Snapshot
from routing.weights import Draws
from tests.routing.samples import document, get, snapshot, snapshot_of

TO_CANARY = {"when": {"header": {"x-canary": "1"}}, "send": "canary"}
STICKY = {"cookie": "hg"}


def draws(seed: int = 1) -> Draws:
    return Draws(random.Random(seed))


def decided(compiled: Snapshot, request: Request, from_: Draws | None = None) -> tuple[str, Reason]:
    decision = decide(compiled, request, from_ or draws())
    assert decision is not None
    return compiled.upstreams[decision.upstream].name, decision.reason


def cookie_for(compiled: Snapshot, upstream: str) -> str:
    """The cookie of a client whom the declared weights have put on that upstream."""
    route = compiled.routes[0]
    assert route.sticky is not None
    rng = random.Random(11)
    while True:
        bucket = rng.getrandbits(64)
        if compiled.upstreams[route.declared_split.place(bucket)].name == upstream:
            return f"hg={route.sticky.sign(bucket).decode()}"


def live(compiled: Snapshot, weights: dict[str, float] | None = None, cutback: CutbackMode | None = None) -> Snapshot:
    return compiled.with_live("shop", Live(None if weights is None else tuple(weights.items()), cutback))


def test_request_that_no_route_takes_has_no_decision() -> None:
    assert decide(snapshot(match={"path": "/only"}), get("/other"), draws()) is None


def test_unsticky_requests_follow_the_weights_exactly() -> None:
    compiled, one = snapshot(weights={"blue": 90, "canary": 10}), draws()
    drawn = Counter(decided(compiled, get(), one)[0] for _ in range(1000))
    assert drawn == {"blue": 900, "canary": 100}


def test_rules_are_tried_in_order_before_weights() -> None:
    rules = [
        {"when": {"header": {"x-a": "1"}}, "send": "green"},
        {"when": {"header": {"x-b": "1"}}, "send": "canary"},
    ]
    compiled = snapshot(rules=rules)
    assert decided(compiled, get(x_a="1", x_b="1")) == ("green", Reason.RULE)
    assert decided(compiled, get(x_b="1")) == ("canary", Reason.RULE)
    assert decided(compiled, get()) == ("blue", Reason.WEIGHT)


def test_rule_with_weights_draws_its_own_split() -> None:
    rule = {"when": {"geo": {"country": "DE"}}, "send": {"green": 80, "canary": 20}}
    compiled, one = snapshot(rules=[rule]), draws()
    request = get(place=Place(country="DE"))
    drawn = Counter(decided(compiled, request, one) for _ in range(100))
    assert drawn == {("green", Reason.RULE): 80, ("canary", Reason.RULE): 20}


@pytest.mark.parametrize("name", ["blue", "canary"])
def test_sticky_client_with_cookie_stays_and_is_not_told_anew(name: str) -> None:
    compiled = snapshot(weights={"blue": 50, "canary": 50}, sticky=STICKY)
    request, one = get(cookie=cookie_for(compiled, name)), draws()
    for _ in range(20):
        decision = decide(compiled, request, one)
        assert decision is not None
        assert (compiled.upstreams[decision.upstream].name, decision.reason) == (name, Reason.STICKY)
        assert not decision.fresh


def test_sticky_client_without_cookie_gets_a_bucket_that_leads_back() -> None:
    compiled, one = snapshot(weights={"blue": 50, "canary": 50}, sticky=STICKY), draws()
    sticky = compiled.routes[0].sticky
    assert sticky is not None
    for _ in range(50):
        first = decide(compiled, get(), one)
        assert first is not None
        assert first.fresh
        assert first.bucket is not None
        again = decide(compiled, get(cookie=f"hg={sticky.sign(first.bucket).decode()}"), one)
        assert again is not None
        assert (again.upstream, again.fresh) == (first.upstream, False)


def test_sticky_cookie_that_is_forged_is_replaced() -> None:
    compiled = snapshot(weights={"blue": 50, "canary": 50}, sticky=STICKY)
    decision = decide(compiled, get(cookie="hg=00000000000000010000000000000000"), draws())
    assert decision is not None
    assert decision.fresh


@pytest.mark.parametrize("sticky", [{"header": "x-user-id"}, {"client_ip": True}])
def test_sticky_by_header_or_address_needs_no_cookie(sticky: dict[str, Any]) -> None:
    compiled = snapshot(weights={"blue": 50, "canary": 50}, sticky=sticky)
    for number in range(50):
        request = get(x_user_id=f"user{number}", client_ip=f"192.0.2.{number}")
        decisions = [decide(compiled, request, draws(seed)) for seed in range(4)]
        assert len({decision.upstream for decision in decisions if decision is not None}) == 1
        assert all(decision is not None and not decision.fresh for decision in decisions)


def test_sticky_by_a_header_that_is_absent_falls_back_to_weights() -> None:
    compiled, one = snapshot(weights={"blue": 50, "canary": 50}, sticky={"header": "x-user-id"}), draws()
    drawn = Counter(decided(compiled, get(), one) for _ in range(100))
    assert drawn == {("blue", Reason.WEIGHT): 50, ("canary", Reason.WEIGHT): 50}


def test_route_with_one_upstream_sets_no_cookie() -> None:
    decision = decide(snapshot(sticky=STICKY), get(), draws())
    assert decision is not None
    assert (decision.fresh, decision.bucket) == (False, None)


def test_cutback_beats_rules_stickiness_and_weights() -> None:
    compiled = snapshot(weights={"blue": 1, "canary": 99}, rules=[TO_CANARY], sticky=STICKY)
    cut, one = live(compiled, cutback=CutbackMode.CUT), draws()
    for request in (get(), get(x_canary="1"), get(cookie=cookie_for(compiled, "canary"))):
        for _ in range(20):
            decision = decide(cut, request, one)
            assert decision is not None
            assert (cut.upstreams[decision.upstream].name, decision.reason) == ("blue", Reason.CUTBACK)
            assert not decision.fresh


def test_cutback_beats_live_weights_too() -> None:
    cut = live(snapshot(), {"canary": 100}, CutbackMode.CUT)
    assert decided(cut, get()) == ("blue", Reason.CUTBACK)


def test_restore_brings_back_the_weights_and_rules_from_before() -> None:
    compiled = snapshot(weights={"blue": 50, "canary": 50}, rules=[TO_CANARY])
    restored = compiled.with_live("shop", Live(None, CutbackMode.CUT)).with_live("shop", AS_DECLARED)
    assert restored.routes == compiled.routes
    assert decided(restored, get(x_canary="1")) == ("canary", Reason.RULE)


def test_drain_keeps_clients_with_a_cookie_and_admits_no_new_ones() -> None:
    compiled = snapshot(weights={"blue": 50, "canary": 50}, rules=[TO_CANARY], sticky=STICKY)
    draining, one = live(compiled, cutback=CutbackMode.DRAIN), draws()
    assert decided(draining, get(cookie=cookie_for(compiled, "canary"))) == ("canary", Reason.STICKY)
    assert decided(draining, get(cookie=cookie_for(compiled, "blue"))) == ("blue", Reason.STICKY)
    for request in (get(), get(x_canary="1"), get(cookie="hg=forged")):
        for _ in range(20):
            decision = decide(draining, request, one)
            assert decision is not None
            assert (draining.upstreams[decision.upstream].name, decision.reason) == ("blue", Reason.CUTBACK)
            assert not decision.fresh


@pytest.mark.parametrize("sticky", [None, {"header": "x-user-id"}, {"client_ip": True}])
def test_drain_without_cookies_is_a_cut_since_nothing_shows_an_earlier_visit(sticky: dict[str, Any] | None) -> None:
    compiled = snapshot(weights={"blue": 1, "canary": 99}, sticky=sticky)
    draining = live(compiled, cutback=CutbackMode.DRAIN)
    for number in range(20):
        assert decided(draining, get(x_user_id=str(number))) == ("blue", Reason.CUTBACK)


def test_live_weight_of_zero_closes_the_upstream_to_rules_and_sticky_clients_too() -> None:
    compiled = snapshot(weights={"blue": 50, "canary": 50}, rules=[TO_CANARY], sticky=STICKY)
    closed = live(compiled, {"blue": 100, "canary": 0})
    for request in (get(), get(x_canary="1"), get(cookie=cookie_for(compiled, "canary"))):
        assert decided(closed, request) == ("blue", Reason.WEIGHT)


def test_live_weights_that_leave_an_upstream_out_leave_its_rules_open() -> None:
    changed = live(snapshot(weights={"blue": 50, "canary": 50}, rules=[TO_CANARY]), {"blue": 100})
    assert decided(changed, get()) == ("blue", Reason.WEIGHT)
    assert decided(changed, get(x_canary="1")) == ("canary", Reason.RULE)


def test_live_zero_takes_one_upstream_out_of_a_rule_and_leaves_the_rest() -> None:
    rule = {"when": {"path": "/"}, "send": {"green": 50, "canary": 50}}
    changed = live(snapshot(rules=[rule]), {"blue": 1, "canary": 0})
    assert {decided(changed, get(), draws(seed)) for seed in range(10)} == {("green", Reason.RULE)}


def test_live_zero_passes_a_closed_rule_over_for_the_next_one() -> None:
    rules = [TO_CANARY, {"when": {"header": {"x-canary": {"present": True}}}, "send": "green"}]
    changed = live(snapshot(rules=rules), {"blue": 1, "canary": 0})
    assert decided(changed, get(x_canary="1")) == ("green", Reason.RULE)


def test_live_weights_that_rise_keep_everyone_else_where_they_were() -> None:
    compiled = snapshot(weights={"blue": 95, "canary": 5}, sticky=STICKY)
    raised = live(compiled, {"blue": 90, "canary": 10})
    assert decided(raised, get(cookie=cookie_for(compiled, "canary"))) == ("canary", Reason.STICKY)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"gone": 100.0}, {"blue": 50, "canary": 50}),  # says nothing about any upstream there is: as declared
        ({"gone": 100.0, "canary": 0.0}, {"blue": 100}),  # the one with weight is gone, canary stays closed
        ({"gone": 50.0, "canary": 50.0}, {"canary": 100}),
    ],
)
def test_live_weights_for_an_upstream_that_is_gone(weights: dict[str, float], expected: dict[str, int]) -> None:
    changed, one = live(snapshot(weights={"blue": 50, "canary": 50}), weights), draws()
    assert Counter(decided(changed, get(), one)[0] for _ in range(100)) == expected


def test_live_state_of_an_unknown_route_changes_nothing() -> None:
    compiled = snapshot()
    assert compiled.with_live("unknown", Live(None, CutbackMode.CUT)) is compiled


def test_live_state_of_one_route_leaves_the_others_untouched() -> None:
    compiled = snapshot_of(document(one={"stable": "blue"}, two={"stable": "green", "match": {"path_prefix": "/two"}}))
    changed = compiled.with_live("two", Live((("canary", 1.0),), None, judged=True))
    assert changed.routes[0] is compiled.routes[0]
    assert changed.table is compiled.table
    assert decided(changed, get("/two")) == ("canary", Reason.WEIGHT)
    assert changed.splits() != compiled.splits()
    assert [route.judged for route in changed.routes] == [False, True]
    assert not changed.with_live("two", AS_DECLARED).routes[1].judged


def test_live_state_of_all_routes_is_laid_in_one_pass() -> None:
    """A worker has a second to acknowledge a cutback of all routes, and a starting one two until it is thought frozen."""
    compiled, count = snapshot(), 20_000
    many = tuple(replace(compiled.routes[0], index=index, name=f"r{index}") for index in range(count))
    began = process_time()
    changed = replace(compiled, routes=many).with_states(
        {route.name: Live(cutback=CutbackMode.CUT) for route in many[1:]} | {"gone": Live()}
    )
    assert process_time() - began < 1.5
    assert changed.routes[0] is many[0]
    assert [(route.index, route.name, route.cutback) for route in changed.routes[1:]] == [
        (index, f"r{index}", CutbackMode.CUT) for index in range(1, count)
    ]


def test_draws_of_a_split_that_did_not_change_go_on_where_they_were() -> None:
    compiled, one = snapshot(weights={"blue": 2, "canary": 1}), draws()
    first = [decided(compiled, get(), one)[0] for _ in range(2)]
    again = live(compiled, cutback=CutbackMode.CUT).with_live("shop", AS_DECLARED)
    one.keep(again.splits())
    assert Counter([*first, decided(again, get(), one)[0]]) == {"blue": 2, "canary": 1}


FLAGS = {"new": {"percent": 30}, "all": {"percent": 100}, "none": {"percent": 0}}


def _flags(compiled: Snapshot, request: Request) -> list[bytes]:
    decision = decide(compiled, request, draws())
    assert decision is not None
    return decision.flags.split(b", ")


@pytest.mark.parametrize("sticky", [None, {"client_ip": True}, {"header": "x-user-id"}])
def test_flags_are_on_for_a_stable_slice_of_clients(sticky: dict[str, Any] | None) -> None:
    compiled = snapshot(flags=FLAGS, sticky=sticky)
    on = 0
    for number in range(2000):
        request = get(client_ip=f"10.0.{number // 250}.{number % 250}", x_user_id=str(number))
        flags = _flags(compiled, request)
        assert flags == _flags(compiled, request)
        assert b"all" in flags
        assert b"none" not in flags
        on += b"new" in flags
    assert abs(on / 20 - 30) < 3


def test_flags_of_a_sticky_route_follow_the_cookie_and_not_the_address() -> None:
    compiled = snapshot(weights={"blue": 50, "canary": 50}, sticky=STICKY, flags={"new": {"percent": 50}})
    cookie = cookie_for(compiled, "blue")
    first = _flags(compiled, get(cookie=cookie))
    assert all(_flags(compiled, get(cookie=cookie, client_ip=f"192.0.2.{n}")) == first for n in range(20))


def test_flags_on_a_sticky_route_with_one_upstream_give_the_client_a_bucket_to_keep() -> None:
    compiled = snapshot(sticky=STICKY, flags={"new": {"percent": 50}})
    decision = decide(compiled, get(), draws())
    assert decision is not None
    assert decision.fresh
    sticky = compiled.routes[0].sticky
    assert sticky is not None
    assert decision.bucket is not None
    again = decide(compiled, get(cookie=f"hg={sticky.sign(decision.bucket).decode()}"), draws(9))
    assert again is not None
    assert (again.flags, again.fresh) == (decision.flags, False)


def test_flags_need_their_conditions() -> None:
    compiled = snapshot(flags={"beta": {"percent": 100, "when": {"header": {"x-beta": "1"}}}})
    assert _flags(compiled, get()) == [b""]
    assert _flags(compiled, get(x_beta="1")) == [b"beta"]


def test_flags_hold_under_cutback() -> None:
    compiled = live(snapshot(flags={"all": {"percent": 100}}), cutback=CutbackMode.CUT)
    assert _flags(compiled, get()) == [b"all"]


def test_flag_slices_of_one_name_are_the_same_on_every_route() -> None:
    flag = {"flags": {"new": {"percent": 50}}, "stable": "blue"}
    compiled = snapshot_of(document(one=flag, two={**flag, "match": {"path_prefix": "/two"}}))
    for number in range(50):
        ip = f"192.0.2.{number}"
        assert _flags(compiled, get("/", client_ip=ip)) == _flags(compiled, get("/two", client_ip=ip))


def test_decision_says_which_rule_it_was() -> None:
    compiled = snapshot(rules=[{"when": {"path": "/a"}, "send": "green"}, {"when": {"path": "/b"}, "send": "canary"}])
    decisions: list[Decision | None] = [decide(compiled, get(path), draws()) for path in ("/a", "/b", "/c")]
    assert [decision.rule for decision in decisions if decision is not None] == [0, 1, -1]
