"""What becomes of a gateway whose state can't be kept, or can't be read: it serves, and says so."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.stage import Stage

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda content: b"nothing of the kind" * 1000,
    "first page": lambda content: b"\xff" * 100 + content[100:],
    "schema": lambda content: content[:100] + b"\xff" * 1000 + content[1100:],
}


@pytest.fixture
def gateway(stage: Stage) -> Gateway:
    return stage.running({"blue": stage.origin("blue").url, "canary": stage.origin("canary").url})


def metrics(gateway: Gateway) -> str:
    with gateway.admin() as client:
        return client.exchange("GET", "/metrics")[1].decode()


def settled(gateway: Gateway) -> Path:
    """Its database, all in one file, once it has stopped."""
    assert gateway.stop() == 0
    path = gateway.state / "state.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_database_is_kept_aside_and_the_gateway_starts_from_the_file(gateway: Gateway, damage: str) -> None:
    gateway.weights(canary=1)
    token = (gateway.state / "admin.token").read_text()
    path = settled(gateway)
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    mark = gateway.mark
    gateway.start()
    assert gateway.get()[1]["X-Served-By"] == "blue"
    told = gateway.logged(
        "the state database was damaged: kept aside, and begun anew from the file; live state, audit log and tokens are gone",
        after=mark,
    )
    [aside] = gateway.status()["store"]["kept_aside"]
    assert told["kept_aside"] == aside
    assert (gateway.state / aside).read_bytes() == damaged
    assert "headgate_store_kept_aside 1.0" in metrics(gateway)
    assert (gateway.state / "admin.token").read_text() == token
    gateway.cutback(reason="the new one is written")
    gateway.stop()
    gateway.start()
    assert gateway.route()["cutback"]["reason"] == "the new one is written"
    assert gateway.status()["store"]["kept_aside"] == [aside]


def test_database_damaged_while_admin_is_dead_costs_nothing_that_is_in_force(gateway: Gateway) -> None:
    gateway.weights(canary=1)
    mark, admin = gateway.mark, gateway.admin_pid
    gateway.signal(signal.SIGSTOP)  # so that nobody starts the next admin process before the damage is done
    os.kill(admin, signal.SIGKILL)
    for name in ("state.sqlite3-wal", "state.sqlite3-shm"):
        (gateway.state / name).unlink(missing_ok=True)
    (gateway.state / "state.sqlite3").write_bytes(b"scribble" * 4096)
    gateway.signal(signal.SIGCONT)
    gateway.logged("the admin API serves", after=mark)
    assert gateway.route()["weights"] == {"canary": 1}
    assert gateway.get()[1]["X-Served-By"] == "canary"


def test_changes_are_in_force_while_nothing_can_be_written_and_stored_once_it_can(gateway: Gateway) -> None:
    """A limit of file size in place of a full disk: the process may not write a byte to any file."""
    admin = gateway.admin_pid
    resource.prlimit(admin, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    gateway.weights(canary=1)
    answer = gateway.cutback(reason="the disk is full")
    assert (answer["receipt"]["applied"], answer["receipt"]["persisted"]) == (True, False)
    assert gateway.get()[1]["X-Served-By"] == "blue"
    store = gateway.status()["store"]
    assert store["pending"] == 2
    assert store["failures"] >= 2
    assert "headgate_store_pending 2.0" in metrics(gateway)
    resource.prlimit(admin, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    gateway.until(lambda: gateway.status()["store"]["pending"] == 0, "what was owed is stored")
    gateway.kill()
    gateway.start()
    assert gateway.route()["cutback"]["reason"] == "the disk is full"
    assert [entry["action"] for entry in gateway.call("GET", "/v1/audit")["entries"]].count("cutback") == 1
