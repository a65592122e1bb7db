"""Connections by client, counted by all workers together."""

from __future__ import annotations

import os

import pytest

from proxy import shared
from proxy.shared import PLACES, ClientCounts
from tests.proxy.fakes import GET, OK, Scene, error_of, status


@pytest.fixture
def two() -> tuple[ClientCounts, ClientCounts]:
    fd = shared.create(2)
    both = ClientCounts(fd, 0, 2), ClientCounts(fd, 1, 2)
    os.close(fd)
    return both


def test_limit_holds_over_all_workers(two: tuple[ClientCounts, ClientCounts]) -> None:
    first, second = two
    places = [counts.enter("192.0.2.1", 3) for counts in (first, second, first)]
    assert min(places) >= 0
    assert [counts.enter("192.0.2.1", 3) for counts in two] == [-1, -1]
    assert first.enter("192.0.2.2", 3) >= 0
    second.leave(places[1])
    assert first.enter("192.0.2.1", 3) == places[0]
    assert second.enter("192.0.2.1", 3) == -1


def test_worker_that_takes_the_place_of_a_dead_one_begins_with_none() -> None:
    fd = shared.create(2)
    first, dead = ClientCounts(fd, 0, 2), ClientCounts(fd, 1, 2)
    assert [counts.enter("192.0.2.1", 2) >= 0 for counts in (first, dead, dead)] == [True, True, False]
    ClientCounts(fd, 1, 2)
    os.close(fd)
    assert [first.enter("192.0.2.1", 2) >= 0 for _ in range(2)] == [True, False]


def test_many_clients_do_not_weigh_on_each_other() -> None:
    counts = ClientCounts()
    clients = [f"10.0.{n // 256}.{n % 256}" for n in range(PLACES // 4)]
    for _ in range(8):
        for client in clients:
            counts.enter(client, 1000)
    assert sum(counts.enter(client, 64) < 0 for client in clients) == 0


def test_connections_beyond_the_limit_are_refused_and_counted() -> None:
    scene = Scene(limits={"connections_per_client": 2})
    first, _second, third = (scene.client() for _ in range(3))
    answer = third.received()
    assert (status(answer), error_of(answer)) == (503, "client_connections")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert third.closed
    assert scene.count("gateway_errors", "client_connections") == 1
    assert not scene.client("192.0.2.77").received()
    first.finish()
    again = scene.client().send(GET)
    scene.origin.send(OK)
    assert status(again.received()) == 200


def test_ipv6_network_is_one_client() -> None:
    scene = Scene(limits={"connections_per_client": 1})
    assert [error_of(scene.client(f"2001:db8::{n}").received() or b"HTTP/1.1 200") for n in (1, 2)] == [
        None,
        "client_connections",
    ]


def test_trusted_proxies_are_not_counted() -> None:
    scene = Scene(limits={"connections_per_client": 1}, trusted_proxies=["10.0.0.0/8"])
    assert [scene.client("10.1.1.1").received() for _ in range(5)] == [b""] * 5


def test_limit_set_while_connections_are_there_counts_those_that_come() -> None:
    scene = Scene()
    old = scene.client()
    scene.adopt(limits={"connections_per_client": 1})
    assert not scene.client().received()
    assert error_of(scene.client().received()) == "client_connections"
    old.finish()  # was never counted
    assert error_of(scene.client().received()) == "client_connections"
