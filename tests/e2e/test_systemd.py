"""What a service manager sees: the states it is told of, and sockets that it keeps while the gateway is away."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.support.gateway import START_PATIENCE, Gateway, document
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, connect, request

# As systemd starts a service: the sockets from descriptor 3 on, and the variables that say so.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "http"}
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def told(stage: Stage) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(stage.folder / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


def until(told: socket.socket, line: str) -> list[str]:
    """All that was said up to that line, but that it is alive."""
    said: list[str] = []
    while line not in said:
        said += [each for each in told.recv(4096).decode().split("\n") if each != "WATCHDOG=1" or each == line]
    return said


def notifying(stage: Stage, **environ: str) -> Gateway:
    settings = document({"blue": stage.origin().url})
    return stage.gateway(settings, {"NOTIFY_SOCKET": str(stage.folder / "notify"), **environ})


def test_service_manager_is_told_of_start_reload_and_stop(stage: Stage, told: socket.socket) -> None:
    gateway = notifying(stage).start()
    assert until(told, "READY=1") == ["READY=1", "STATUS=serving"]
    assert gateway.get()[0] == 200
    for content in (gateway.config.read_text(), "listen: ["):  # a bad file ends the reload, too
        gateway.config.write_text(content)
        gateway.signal(signal.SIGHUP)
        said = until(told, "READY=1")
        assert said[0] == "RELOADING=1"
        assert said[1].startswith("MONOTONIC_USEC=")
    gateway.signal(signal.SIGTERM)
    assert "STOPPING=1" in until(told, "STOPPING=1")
    assert gateway.end() == 0


def test_watchdog_is_fed_when_it_is_asked_for(stage: Stage, told: socket.socket) -> None:
    notifying(stage, WATCHDOG_USEC="1000000").start()
    for _ in range(3):
        until(told, "WATCHDOG=1")


def test_gateway_runs_without_anyone_to_tell(stage: Stage) -> None:
    gateway = stage.gateway(document({"blue": stage.origin().url}), {"NOTIFY_SOCKET": str(stage.folder / "nobody")})
    assert gateway.start().get()[0] == 200


@pytest.fixture
def kept() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock:
        yield sock


def activated(
    stage: Stage, kept: socket.socket, address: str | None = None, environ: Mapping[str, str] | None = None
) -> Gateway:
    host, port = kept.getsockname()
    settings = document({"blue": stage.origin().url}, workers=2, listen=[{"address": address or f"{host}:{port}"}])
    gateway = stage.gateway(settings, environ)
    gateway.prefix = [sys.executable, "-c", ACTIVATE, str(kept.fileno())]
    gateway.pass_fds = (kept.fileno(),)
    return gateway


def test_sockets_of_the_service_manager_are_used_and_outlive_the_gateway(stage: Stage, kept: socket.socket) -> None:
    gateway = activated(stage, kept).start()
    assert gateway.get()[0] == 200
    assert gateway.stop() == 0
    with connect(kept.getsockname()) as early:  # nobody is there to accept it
        early.send(request())
        gateway.start()
        assert early.response().status == 200


def test_socket_without_a_listener_is_refused(stage: Stage, kept: socket.socket) -> None:
    gateway = activated(stage, kept, "127.0.0.1:1")
    gateway.launch()
    assert gateway.end() == 1
    assert "none for 127.0.0.1:1" in gateway.lines[-1]


def test_descriptors_for_another_process_are_left_alone(stage: Stage) -> None:
    gateway = stage.gateway(document({"blue": stage.origin().url}), {"LISTEN_FDS": "3", "LISTEN_PID": "1"})
    assert gateway.start().get()[0] == 200


def test_hot_restart_keeps_the_service_manager_informed_and_its_sockets(
    stage: Stage, told: socket.socket, kept: socket.socket
) -> None:
    """The watchdog is fed at once by the new code; twice a minute is so seldom that this is not the old one."""
    environ = {"NOTIFY_SOCKET": str(stage.folder / "notify"), "WATCHDOG_USEC": "60000000"}
    gateway = activated(stage, kept, environ=environ).start()
    until(told, "READY=1")
    mark = gateway.mark
    gateway.signal(signal.SIGUSR2)
    gateway.logged("serving", after=mark, patience=START_PATIENCE)
    until(told, "WATCHDOG=1")
    until(told, "READY=1")
    assert gateway.get()[0] == 200
    assert gateway.stop() == 0
    until(told, "STOPPING=1")
    with connect(kept.getsockname()) as early:
        early.send(request())
        gateway.start()
        assert early.response().status == 200
