"""The slow clients of the loris bench: a part of a head, byte by byte, and back again when they are cut."""

from __future__ import annotations

import socket

from bench.child import Child
from bench.loris_clients import ADDRESSES, BEGINNING
from tests.support.wire import PATIENCE, Wire

COUNT = 25


def accepted(server: socket.socket) -> Wire:
    sock, (address, _) = server.accept()
    assert 2 <= int(address.rpartition(".")[2]) < 2 + ADDRESSES
    wire = Wire(sock)
    assert wire.exactly(len(BEGINNING)) == BEGINNING
    return wire


def test_slow_clients_drip_and_come_again_when_they_are_cut() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=COUNT) as server:
        server.settimeout(PATIENCE)
        with Child("loris_clients", str(server.getsockname()[1])) as slow:
            slow.ask("open", count=COUNT)
            first = [accepted(server) for _ in range(COUNT)]
            assert all(wire.exactly(1) == b"x" for wire in first)
            first[0].send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            first[0].close()
            first[1].reset()
            again = [accepted(server) for _ in range(2)]
            assert slow.ask("close") == {"open": COUNT, "ended": {"408": 1, "reset": 1}}
            for wire in (*first[2:], *again):
                wire.wait_closed()
                wire.close()
