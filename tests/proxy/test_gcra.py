"""Rate limits: how many requests of a client pass in any window, across workers, and what a full table forgets."""

from __future__ import annotations

import os
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import shared
from proxy.gcra import SETS, WAYS, RateTable
from routing.rate import RateBy, RateLimit, client_network
from routing.request import Request
from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import OK, Scene, error_of, request, status

START = 1000.0


def limit_of(
    quota: int = 8, window: int = 1, burst: int = 2, by: RateBy = RateBy.CLIENT_IP, name: bytes = b""
) -> RateLimit:
    return RateLimit(by, name, quota, window, burst, b"saltsalt")


# (seconds after the start, the wait that is answered; 0 lets it pass), for 8/s and a burst of 2
SEQUENCES: list[list[tuple[float, float]]] = [
    [(0.0, 0.0), (0.0, 0.0), (0.0, 0.125), (0.0625, 0.0625), (0.125, 0.0), (0.125, 0.125)],
    [(0.0, 0.0), (0.125, 0.0), (0.25, 0.0), (0.25, 0.0), (0.25, 0.125)],  # evenly, and the burst is still there
    [(0.0, 0.0), (0.0, 0.0), (60.0, 0.0), (60.0, 0.0), (60.0, 0.125)],  # rest earns one burst, not more
    [(0.0, 0.0), (0.0, 0.0), (0.0, 0.125), (0.0, 0.125), (0.125, 0.0)],  # being refused costs nothing
]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_requests_pass_by_rate_and_burst(sequence: list[tuple[float, float]]) -> None:
    table, limit = RateTable(), limit_of()
    assert [(at, table.ask(limit, b"a", START + at)) for at, _ in sequence] == sequence


@given(
    quota=st.sampled_from([1, 2, 4, 8]),
    burst=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=1, max_size=60),
)
def test_no_window_has_more_than_burst_and_rate_allow(quota: int, burst: int, steps: list[tuple[int, int]]) -> None:
    """By two workers in turn. Times are sixteenths of a second, so that all arithmetic is exact."""
    fd = shared.create(2)
    workers = RateTable(fd), RateTable(fd)
    os.close(fd)
    limit, now, passed = limit_of(quota, 1, burst), Fraction(0), list[Fraction]()
    for step, worker in steps:
        now += Fraction(step, 16)
        wait = workers[worker].ask(limit, b"a", START + float(now))
        if wait == 0:
            passed.append(now)
        else:  # and it says exactly when
            assert RateTable.ask(workers[worker], limit, b"a", START + float(now) + wait - 1 / 32) > 0
    for first, since in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + quota * (passed[last] - since)


def test_keys_and_routes_are_counted_apart() -> None:
    table = RateTable()
    one, other = limit_of(burst=1), RateLimit(RateBy.CLIENT_IP, b"", 8, 1, 1, b"SALTSALT")
    assert [table.ask(limit, key, START) > 0 for limit in (one, other) for key in (b"a", b"b", b"a")] == [
        False,
        False,
        True,
    ] * 2


def test_full_table_forgets_who_is_furthest_from_the_limit() -> None:
    table, hard, soft = RateTable(), limit_of(1, 1, 5), limit_of(8, 1, 1000)
    for _ in range(5):
        assert table.ask(hard, b"held back", START) == 0
    for number in range(SETS * WAYS * 2):
        table.ask(soft, b"%d" % number, START)
    assert table.forgotten > 0
    assert table.ask(hard, b"held back", START) > 0


def test_time_that_makes_no_sense_holds_nobody_back_for_longer_than_the_limit_could() -> None:
    table = RateTable()
    table.ask(limit_of(1, 86400, 1), b"a", START)  # then the limit was changed
    assert table.ask(limit_of(8, 1, 1), b"a", START) == 0.125


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "192.0.2.1", False),
        ("no:address", "no:other", False),
    ],
)
def test_clients_are_told_apart_by_address(one: str, other: str, same: bool) -> None:
    assert (client_network(one) == client_network(other)) is same


@pytest.mark.parametrize("by", [RateBy.HEADER, RateBy.COOKIE])
def test_request_without_the_mark_is_counted_by_its_address(by: RateBy) -> None:
    limit = limit_of(by=by, name=b"key")
    marked = {b"key": b"k1", b"cookie": b"key=k1"}
    keys = [
        limit.key(Request(b"GET", b"", b"/", fields=fields, client_ip=address))
        for address in ("192.0.2.1", "192.0.2.2")
        for fields in ({}, marked)
    ]
    assert keys == [b"a192.0.2.1", b"vk1", b"a192.0.2.2", b"vk1"]


# On the data plane

LIMITED = {"rate_limit": {"rate": "1/h", "burst": 1}}


def test_request_over_the_limit_gets_429_and_goes_nowhere() -> None:
    scene = Scene(route=LIMITED)
    client, origin = scene.ask()
    origin.send(OK)
    assert status(client.received()) == 200
    client.send(request())
    head = client.head()
    assert head.start == "HTTP/1.1 429 Too Many Requests"
    assert head.get("X-Headgate-Error") == "rate_limited"
    assert head.get("Retry-After") == "3600"
    assert head.get("RateLimit-Policy") == '"default";q=1;w=3600'
    assert head.get("RateLimit") == '"default";r=0;t=3600'
    assert not client.closed
    assert len(scene.origins) == 1
    assert scene.count("gateway_errors", "rate_limited") == 1
    assert scene.codes() == {("shop", "blue"): {200: 1}, ("shop", ""): {429: 1}}
    assert scene.at_rest


def test_limit_is_by_the_client_behind_trusted_proxies() -> None:
    scene = Scene(route=LIMITED, trusted_proxies=["10.0.0.0/8"])
    answers = []
    for client_ip in (b"192.0.2.1", b"192.0.2.2", b"192.0.2.1"):
        client = scene.client("10.1.1.1").send(request(b"X-Forwarded-For: " + client_ip))
        answers.append(error_of(client.received()))
    assert answers == [None, None, "rate_limited"]  # None: at the upstream


def test_limit_by_header_reads_it_though_no_rule_does() -> None:
    scene = Scene(route={"rate_limit": {"rate": "1/h", "burst": 1, "by": {"header": "X-API-Key"}}})
    answers = [error_of(scene.client().send(request(b"X-Api-Key: " + key)).received()) for key in (b"k1", b"k2", b"k1")]
    assert answers == [None, None, "rate_limited"]


def test_retry_and_cutback_count_a_request_once() -> None:
    retry = {"attempts": 3, "on": ["connect"]}
    scene = Scene(
        route={"rate_limit": {"rate": "1/h", "burst": 2}, "retry": retry, "weights": {"canary": 1}}, hold=True
    )
    client = scene.client().send(request())
    scene.publish(Live(cutback=CutbackMode.CUT))  # chooses again
    scene.connect()  # canary's dial, too late
    scene.connect()
    scene.origin.send(OK)
    assert status(client.received()) == 200
    client.send(request())
    scene.origin.send(OK)
    assert status(client.received()) == 200
    client.send(request())
    assert status(client.received()) == 429
