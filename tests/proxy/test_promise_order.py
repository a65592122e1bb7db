"""An acknowledgement says that what was decided before it has left the process: nothing may still be on its way inside."""

from __future__ import annotations

import asyncio
import socket

import uvloop

from proxy.control import Ack, Decoder, Message, Publish, Ready, WorkerSettings
from proxy.worker import Worker
from routing.pickling import dumps
from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import OK, Scene, request, snapshot_of, status


class Supervisor:
    """The other end of a worker's control socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._decoder = sock, Decoder()
        self.heard: list[Message] = []

    async def until(self, kind: type) -> None:
        while not any(isinstance(message, kind) for message in self.heard):
            self.heard += self._decoder.feed(await asyncio.get_running_loop().sock_recv(self._sock, 65536))

    def look(self) -> list[Message]:
        try:
            return self._decoder.feed(self._sock.recv(65536))
        except BlockingIOError:
            return []


async def _story() -> tuple[bytes, list[Message]]:
    """A worker sends a request and gets a cutback in one turn of its loop. What has left it when the next turn begins."""
    loop = asyncio.get_running_loop()
    (ours, theirs), (near, far) = socket.socketpair(), socket.socketpair()
    with ours, theirs, near, far:
        for sock in (ours, theirs, near, far):
            sock.setblocking(False)
        worker, supervisor = Worker(theirs), Supervisor(ours)
        await loop.create_unix_connection(lambda: worker._channel, sock=theirs)
        worker._message(WorkerSettings(0))
        worker._message(Publish(1, {}, dumps(snapshot_of())))
        await supervisor.until(Ready)
        upstream, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
        next_turn: asyncio.Future[tuple[bytes, list[Message]]] = loop.create_future()

        def turn() -> None:
            upstream.write(b"request")
            loop.call_soon(lambda: next_turn.set_result((far.recv(100), supervisor.look())))
            worker._message(Publish(2, {"shop": Live(cutback=CutbackMode.CUT)}))

        loop.call_soon(turn)
        seen = await next_turn
        supervisor.heard = [*seen[1]]
        await supervisor.until(Ack)
        upstream.close()
        worker._channel.close()
        return seen


def test_request_written_before_a_cutback_leaves_before_its_acknowledgement() -> None:
    assert uvloop.run(_story()) == (b"request", [])


def test_connection_that_has_not_taken_all_of_a_request_gets_no_other() -> None:
    scene = Scene()
    client, origin = scene.ask(request(b"Content-Length: 20000", method=b"PUT"))
    origin.transport.stuck = True
    client.send(b"x" * 20_000)
    origin.send(OK)
    assert status(client.received()) == 200
    assert origin.transport.aborted
    assert scene.at_rest
