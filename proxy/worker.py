"""A worker process: gets its settings and the state in force from the supervisor, then serves.

Phases: SETUP (no state yet, not accepting), READY, DRAINING, and the process ends. Losing the supervisor drains: nobody else
could tell this worker of a cutback.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import resource
import signal
import socket
import sys
from enum import Enum
from time import monotonic

import uvloop
from setproctitle import setproctitle

from proxy.breaker import Breakers
from proxy.capture_link import CaptureLinks
from proxy.certificates import pass_over_bad_names
from proxy.control import (
    HEARTBEAT_SECONDS,
    Ack,
    Channel,
    Drain,
    Failed,
    Heartbeat,
    Message,
    Nack,
    Notice,
    Publish,
    Ready,
    Stats,
    WorkerSettings,
)
from proxy.gcra import RateTable
from proxy.listening import Listener
from proxy.plane import Plane
from proxy.pressure import NAMES, Pressure
from proxy.shared import ClientCounts
from proxy.tasks import spawn
from routing.snapshot import Snapshot

FLUSH_SECONDS = 0.1
WATCH_SECONDS = 1.0
# At the end: handshakes under way arrive in the accept queue within a round trip.
SETTLE_SECONDS = 0.3
# A connection kept by a client that is at work has its next request by then, and learns from the answer that it closes. Closed
# at once, it would often cross that request on its way.
IDLE_SECONDS = 1.0
LOOK_SECONDS = 0.01
# The supervisor takes what we send at once, or is gone; counts that pile up beyond this are kept, not sent.
MAX_BACKLOG = 4 * 1024 * 1024
# tcpi_unacked in struct tcp_info: of a listening socket, the length of its accept queue.
_TCP_INFO_UNACKED = 24


class Phase(Enum):
    SETUP = "setup"
    READY = "ready"
    DRAINING = "draining"


class Worker:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._channel = Channel(self._message, self._supervisor_lost)
        self._phase = Phase.SETUP
        self._settings = WorkerSettings(-1)
        self._listeners: list[Listener] = []
        self._sockets: list[socket.socket] = []
        self._plane: Plane | None = None
        self._reported: dict[str, float] = {}
        self._pressure = Pressure()
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        await self._loop.create_unix_connection(lambda: self._channel, sock=self._control)
        self._heartbeat()
        await self._stopped.wait()

    # Messages

    def _message(self, message: Message) -> None:
        match message:
            case WorkerSettings():
                self._settings = message
                setproctitle(f"headgate: worker {message.number}")
            case Publish():
                self._publish(message)
            case Drain(seconds, handed_over):
                self._drain(seconds, handed_over=handed_over)
            case _:
                raise AssertionError(f"a worker got {message!r}")

    def _publish(self, publish: Publish) -> None:
        """Adopt, then acknowledge; a state that can't be adopted changes nothing."""
        try:
            in_flight = self._adopt(publish)
        except Exception as error:
            self._channel.send(Nack(publish.revision, f"{type(error).__name__}: {error}"))
            if self._phase is Phase.SETUP:
                self._crashed(error)  # nothing to go on with
            return
        ack = Ack(publish.revision, in_flight)
        if self._phase is Phase.SETUP:
            self._channel.send(ack)
        else:  # the loop writes out at the end of a turn, in any order: what this turn has sent so far must leave before
            self._loop.call_soon(self._channel.send, ack)

    def _adopt(self, publish: Publish) -> dict[str, int]:
        if publish.snapshot is None:
            assert self._plane is not None
            return self._plane.apply(publish)
        snapshot: Snapshot = pickle.loads(publish.snapshot)  # noqa: S301 - from our supervisor, over an unnamed socket
        snapshot = snapshot.with_endpoints(publish.endpoints)
        if self._plane is None:
            self._plane = Plane(
                snapshot,
                publish.live,
                self._crashed,
                self._settings.workers,
                rates=RateTable(self._settings.shared),
                counts=ClientCounts(self._settings.shared, self._settings.number, self._settings.workers),
                breakers=Breakers(self._settings.shared, self._settings.number, self._settings.workers),
            )
            if self._plane.fault is not None:
                self._notice("access log not opened", self._plane.fault)
            self._serve(self._plane)
        else:
            self._plane.adopt(snapshot, publish.live)
        # What is there now stays for long: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)  # exchanges leave no cycles; the default looked for some every 700 objects
        return {}

    # Serving

    def _serve(self, plane: Plane) -> None:
        plane.sweep(self._loop)
        if self._settings.state:
            CaptureLinks(plane.tap, self._settings.state, lambda: plane.shadowing, self._crashed)
        self._flush(plane)
        self._watch_files(plane)
        self._watch_memory(plane)
        spawn(self._listen(plane), "listen", self._crashed)

    async def _listen(self, plane: Plane) -> None:
        for settings in self._settings.listeners:
            sock = socket.socket(fileno=settings.fd)
            listener = Listener(plane, settings, self._crashed)
            await listener.open(sock)
            self._listeners.append(listener)
            self._sockets.append(sock)
        if self._phase is Phase.DRAINING:
            return
        self._phase = Phase.READY
        self._channel.send(Ready())

    def _drain(self, seconds: float, *, handed_over: bool = False) -> None:
        """From now on answers end their connections. What has been accepted by the kernel is accepted here, too: closing a
        listening socket would reset it."""
        if self._phase is Phase.DRAINING:
            return
        self._phase = Phase.DRAINING
        plane = self._plane
        if plane is None:
            self._stopped.set()
            return
        plane.draining = True
        now = monotonic()
        self._loop.call_later(min(IDLE_SECONDS, seconds / 2), plane.drain)
        self._stop_accepting(
            plane, now if handed_over else now + SETTLE_SECONDS, now + seconds, handed_over=handed_over
        )

    def _stop_accepting(self, plane: Plane, settled: float, deadline: float, *, handed_over: bool) -> None:
        now = monotonic()
        waiting = not handed_over and (now < settled or any(map(queued, self._sockets)))
        if waiting and now < deadline:
            self._loop.call_later(
                LOOK_SECONDS, lambda: self._stop_accepting(plane, settled, deadline, handed_over=handed_over)
            )
            return
        for listener in self._listeners:
            listener.close()
        # What was accepted last is a connection by then.
        self._loop.call_later(LOOK_SECONDS, self._await_drained, plane, deadline)

    def _await_drained(self, plane: Plane, deadline: float) -> None:
        if plane.connections and monotonic() < deadline:
            self._loop.call_later(0.05, self._await_drained, plane, deadline)
            return
        self._report(plane)
        plane.tap.flush()
        if plane.access_log is not None:
            plane.access_log.flush()
        self._loop.call_soon(self._stopped.set)

    # Reporting

    def _heartbeat(self) -> None:
        self._channel.send(Heartbeat())
        if self._plane is not None and self._channel.backlog < MAX_BACKLOG:
            self._report(self._plane)
        self._loop.call_later(HEARTBEAT_SECONDS, self._heartbeat)

    def _report(self, plane: Plane) -> None:
        cells, counters = plane.stats.take()
        gauges = {"connections": float(plane.connections), "in_flight": float(len(plane.active))}
        gauges["memory_bytes"] = float(self._pressure.used)
        for (upstream, endpoint), load in plane.upstreams.loads().items():
            gauges[f"endpoint_in_flight {upstream} {endpoint}"] = float(load)
        for upstream, endpoint in plane.upstreams.ejected():
            gauges[f"endpoint_ejected {upstream} {endpoint}"] = 1.0
        for breaker in plane.breakers.by_upstream.values():
            gauges[f"circuit_requests {breaker.upstream}"] = float(breaker.requests)
            gauges[f"circuit_waiting {breaker.upstream}"] = float(breaker.waiting)
        copied, not_copied = plane.stats.take_copies()
        arms = plane.arms.take()
        if cells or counters or copied or not_copied or arms or gauges != self._reported:
            self._reported = gauges
            self._channel.send(Stats(self._settings.number, cells, counters, gauges, copied, not_copied, arms))

    def _flush(self, plane: Plane) -> None:
        if plane.access_log is not None:
            plane.access_log.flush()
        self._loop.call_later(FLUSH_SECONDS, self._flush, plane)

    def _watch_files(self, plane: Plane) -> None:
        """Take up a geo database or certificate that was replaced on disk; a broken one is reported, the old one kept."""
        found = [
            ("geo database", plane.geo.refresh()),
            *(("certificate", problem) for each in self._listeners for problem in each.refresh()),
        ]
        for what, problem in found:
            if problem is not None:
                self._notice(f"{what} not reloaded", problem)
        self._loop.call_later(WATCH_SECONDS, self._watch_files, plane)

    def _watch_memory(self, plane: Plane) -> None:
        before, level = self._pressure.level, self._pressure.look(plane.snapshot.limits.memory, self._settings.workers)
        if level != before:
            plane.under_pressure(level)
            if level > before:
                plane.stats.count("memory_pressure", NAMES[level])
            self._notice("memory pressure", f"{NAMES[level]}: {self._pressure}", "error" if level > before else "info")
        self._loop.call_later(WATCH_SECONDS, self._watch_memory, plane)

    def _notice(self, event: str, detail: str, level: str = "error") -> None:
        self._channel.send(Notice(f"worker {self._settings.number}", level, event, detail))

    # Failure

    def _supervisor_lost(self) -> None:
        self._drain(self._plane.timeouts.drain if self._plane is not None else 0.0)

    def _crashed(self, error: BaseException) -> None:
        """A task of ours failed in a way nobody foresaw: say so and go; the supervisor starts another worker."""
        self._channel.send(Failed(f"worker {self._settings.number}: {type(error).__name__}: {error}"))
        self._loop.call_soon(os._exit, 70)


def queued(listening: socket.socket) -> int:
    """Connections that wait to be accepted; 0 where the system does not tell."""
    try:
        found = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_UNACKED + 4)
    except OSError:
        return 0
    return int.from_bytes(found[_TCP_INFO_UNACKED:], sys.byteorder)


def raise_file_limit() -> None:
    """A connection is a file, and the usual soft limit is 1,024: `limits.connections` could never be reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """`python -m proxy.worker --control-fd FD`, started by the supervisor; FD is the control socket."""
    raise_file_limit()
    control = socket.socket(fileno=int(sys.argv[2]))
    control.setblocking(False)
    # The terminal's Ctrl-C reaches the whole group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.unraisablehook = pass_over_bad_names

    async def run() -> None:
        await Worker(control).run()

    uvloop.run(run())


if __name__ == "__main__":
    main()
