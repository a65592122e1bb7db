"""The first process: opens sockets, starts the others, keeps them alive, and passes state from admin to the workers.

Theory of operation. It has no HTTP and no store. What admin publishes goes through `Broadcast` to every worker; one that has
not acknowledged within ACK_SECONDS is killed before admin is answered. A child that dies or falls silent is started again,
and a new worker gets all state before it accepts. The shadow process gets all state too, but no publish waits for it and no
start: it comes when the gateway serves and some route has a shadow, and whatever becomes of it, the gateway goes on.

Phases: STARTING (a fatal error of admin or a worker ends the gateway), RUNNING (a child that dies is started again), STOPPING
(`drain_delay` after it was told to stop and is not ready any more: workers end first, then the shadow process, then admin).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path

from admin.broadcast import Broadcast, Round
from admin.child import BOOT_SECONDS, SILENCE_SECONDS, Child, shadow_state, tell, worker_states
from admin.crash_loops import CrashLoops
from admin.listeners import WorkerSockets, addresses_of
from admin.log_line import say
from admin.systemd import Notifier
from admin.upgrade import LeftOver, become, fit
from proxy import shared
from proxy.control import (
    Ack,
    DiffReport,
    DiffsKept,
    DiffsResend,
    DiffsWanted,
    Drain,
    Failed,
    InForce,
    Message,
    Nack,
    Notice,
    Publish,
    Published,
    Ready,
    Reload,
    Reloaded,
    Stats,
    Workers,
    WorkerSettings,
)
from proxy.tasks import spawn

ACK_SECONDS = 1.0
WATCH_SECONDS = 0.25
# The last report of the shadow process, once no worker sends it anything.
SHADOW_DRAIN_SECONDS = 1.0


class Phase(Enum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Supervisor:
    """`state` is the state folder, `drain_seconds` what SIGTERM gives requests under way, `slots` the sockets, one set a worker,
    `lock` a descriptor that admin is to hold as long as it lives, `left_over` what is there of before an upgrade."""

    def __init__(
        self,
        config_path: Path,
        state: Path,
        drain_seconds: float,
        slots: list[WorkerSockets],
        lock: int | None = None,
        left_over: LeftOver | None = None,
        drain_delay: float = 0.0,
    ) -> None:
        self._config_path = config_path
        self._state = state
        self._drain_seconds = drain_seconds
        self._drain_delay = drain_delay
        self._slots = slots
        self._lock = lock
        self._left_over = left_over or LeftOver()
        self._phase = Phase.STARTING
        self._leaving = False
        self._workers: dict[int, Child] = {}
        self._broadcast = Broadcast(lambda number, message: self._workers[number].send(message), self._round_through)
        self._shared = shared.create(len(slots))
        self._admin: Child | None = None
        self._admin_ready = False
        self._restarts = 0
        self._shadow: Child | None = None
        self._shadow_begun = False
        self._shadow_restarts = 0
        self._crash_loops = CrashLoops()
        self._notifier = Notifier(os.environ)
        self._done = asyncio.Event()
        self._exit_code = 0
        self._watched = time.monotonic()

    # Life

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for end in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(end, self._terminate)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGUSR2, self._upgrade)
        await self._start_admin()
        for number in range(len(self._slots)):
            await self._start_worker(number)
        self._watch()
        await self._done.wait()
        return self._exit_code

    async def _start_admin(self) -> None:
        self._admin = Child("admin", self._admin_up, self._from_admin, self._admin_exited)
        held = [] if self._lock is None else [self._lock]
        await self._admin.start("admin.process", ["--state", str(self._state), str(self._config_path)], held)

    async def _start_worker(self, number: int) -> None:
        child = Child(f"worker {number}", self._worker_up, self._from_worker, self._worker_exited)
        self._workers[number] = child
        fds = [listener.fd for listener in self._slots[number].listeners]
        await child.start("proxy.worker", [], [*fds, self._shared])

    async def _start_shadow(self) -> None:
        self._shadow = Child("shadow", self._shadow_up, self._from_shadow, self._shadow_exited)
        await self._shadow.start("shadow.process", ["--state", str(self._state.absolute())], [])

    def _children(self) -> list[Child]:
        return [*self._workers.values(), *(child for child in (self._shadow, self._admin) if child is not None)]

    def _number(self, child: Child) -> int:
        return next(number for number, worker in self._workers.items() if worker is child)

    # Workers

    def _worker_up(self, child: Child) -> None:
        number = self._number(child)
        listeners = tuple(self._slots[number].listeners)
        child.send(WorkerSettings(number, listeners, len(self._slots), str(self._state.absolute()), self._shared))
        self._broadcast.joined(number)

    def _from_worker(self, child: Child, message: Message) -> None:
        match message:
            case Stats() | Notice():
                self._tell_admin(message)
            case Ready():
                child.ready = True
                self._check_running()
                self._tell_workers()
            case Ack() | Nack():
                if not self._broadcast.answered(self._number(child), message, time.monotonic()):
                    say("error", "worker could not take live state; killed", worker=self._number(child))
                    child.end()
            case Failed(reason):
                self._failed(child, reason)

    def _worker_exited(self, child: Child) -> None:
        number = self._number(child)
        self._broadcast.left(number, time.monotonic())
        if self._phase is Phase.STOPPING:
            self._stop_the_others_after_workers()
            return
        self._restarts += 1
        say("error", "worker exited", worker=number, status=child.exit_status)
        self._tell_workers()
        self._restart(child, lambda: self._start_worker(number))

    # Admin

    def _admin_up(self, child: Child) -> None:
        state = self._broadcast.state
        child.send(
            InForce(state.revision, dict(state.live), dict(state.endpoints)) if state else self._left_over.found()
        )
        self._tell_workers()
        self._tell_shadow(DiffsResend())

    def _from_admin(self, child: Child, message: Message) -> None:
        match message:
            case Publish():
                self._publish(message)
            case DiffsKept():
                self._tell_shadow(message)
            case Reloaded():
                self._notifier.reloaded()
            case Ready():
                child.ready = True
                self._admin_ready = True
                self._check_running()
            case Failed(reason):
                self._failed(child, reason)

    def _admin_exited(self, child: Child) -> None:
        if self._phase is Phase.STOPPING:
            self._done.set()
            return
        say("error", "admin exited; workers serve on", status=child.exit_status)
        self._notifier.reloaded()
        if self._phase is Phase.STARTING:
            self._fail("the admin process ended before the gateway was running")
            return
        self._restart(child, self._start_admin)

    def _tell_admin(self, message: Message) -> None:
        tell(self._admin, message)

    def _tell_workers(self) -> None:
        self._tell_admin(
            Workers(
                worker_states(self._workers, self._broadcast.holders),
                self._restarts,
                shadow_state(self._shadow, self._shadow_restarts),
                self._crash_loops.crashing(),
                self._leaving,
                addresses_of(self._slots),
            )
        )

    # Shadow

    def _ensure_shadow(self) -> None:
        state = self._broadcast.state
        wanted = self._phase is Phase.RUNNING and state is not None and state.shadowing
        if wanted and not self._shadow_begun:
            self._shadow_begun = True
            spawn(self._start_shadow(), "start shadow", self._crashed)

    def _shadow_up(self, child: Child) -> None:
        if (state := self._broadcast.state) is not None:
            child.send(state)
        self._tell_workers()

    def _from_shadow(self, child: Child, message: Message) -> None:
        match message:
            case DiffsWanted() | DiffReport() | Notice():
                self._tell_admin(message)
            case Ready():
                child.ready = True
                self._tell_workers()
            case Nack(revision, error):
                say("error", "the shadow process could not take a revision", revision=revision, error=error)
            case Failed(reason):
                say("error", "child cannot run", child=child.name, reason=reason)

    def _shadow_exited(self, child: Child) -> None:
        if self._phase is Phase.STOPPING:
            self._stop_the_others_after_workers()
            return
        self._shadow_restarts += 1
        say("error", "shadow exited; nothing is copied until it is back", status=child.exit_status)
        self._tell_workers()
        self._restart(child, self._start_shadow)

    def _tell_shadow(self, message: Message) -> None:
        tell(self._shadow, message)

    # Publishing

    def _publish(self, publish: Publish) -> None:
        if self._phase is Phase.RUNNING and (publish.live or publish.snapshot is not None):
            self._left_over.end()  # nobody could tell them
        up = {number for number, child in self._workers.items() if child.up and not child.exited}
        round_ = self._broadcast.publish(publish, up, time.monotonic())
        if round_ is None:
            say("error", "live state published before any snapshot", revision=publish.revision)
        else:
            asyncio.get_running_loop().call_later(ACK_SECONDS, self._end_late, round_)
            self._tell_shadow(publish)
            self._ensure_shadow()

    def _round_through(self, published: Published) -> None:
        self._tell_admin(published)
        self._tell_workers()

    def _end_late(self, round_: Round) -> None:
        for number in self._broadcast.late(round_):
            say("error", "worker did not acknowledge; killed", worker=number, revision=round_.revision)
            self._workers[number].end()

    # Trouble

    def _watch(self) -> None:
        """Kill children whose event loop has fallen silent; their exit starts them again. Where we were held up ourselves (a
        container paused, a machine asleep), so were they: silence counts from now on."""
        now = time.monotonic()
        if now - self._watched > 2 * WATCH_SECONDS:
            for child in self._children():
                child.excuse(now)
        self._watched = now
        self._notifier.alive(now)
        self._left_over.reap()
        for child in self._children():
            if child.silent(now, BOOT_SECONDS if self._phase is Phase.STARTING else SILENCE_SECONDS):
                say("error", "child fell silent; killed", child=child.name, pid=child.pid)
                child.kill()
            elif not child.exited and self._crash_loops.lived(child.name, child.age):
                self._tell_workers()
        asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch)

    def _restart(self, child: Child, start: Callable[[], Awaitable[None]]) -> None:
        delay = self._crash_loops.died(child.name, child.age)
        if delay:
            say("error", "child dies again and again", child=child.name, pause=delay)
            self._tell_workers()

        async def later() -> None:
            await asyncio.sleep(delay)
            if self._phase is not Phase.STOPPING:
                await start()

        spawn(later(), f"restart {child.name}", self._crashed)

    def _failed(self, child: Child, reason: str) -> None:
        say("error", "child cannot run", child=child.name, reason=reason)
        if self._phase is Phase.STARTING:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        """The gateway never ran: one line, and out."""
        if not self._done.is_set():
            print(f"headgate: {reason}", file=sys.stderr)
            self._exit_code = 1
            self._phase = Phase.STOPPING
            self._end()

    def _crashed(self, error: BaseException) -> None:
        say("error", "supervisor task failed", error=f"{type(error).__name__}: {error}")

    def _check_running(self) -> None:
        if self._phase is Phase.STARTING and self._admin_ready and all(c.ready for c in self._workers.values()):
            self._phase = Phase.RUNNING
            say("info", "serving", addresses=addresses_of(self._slots), workers=len(self._workers), pid=os.getpid())
            self._notifier.serving()
            self._ensure_shadow()

    # Signals

    def _upgrade(self) -> None:
        if self._phase is Phase.RUNNING:
            spawn(self._become_new(), "upgrade", self._crashed)

    async def _become_new(self) -> None:
        if await fit(self._config_path, self._slots) and not self._leaving:
            pids = [child.pid for child in self._children() if not child.exited]
            become(self._config_path, self._slots, pids, self._broadcast.state)

    def _reload(self) -> None:
        if tell(self._admin, Reload()):
            self._notifier.reloading()

    def _terminate(self) -> None:
        if self._leaving:
            self._end()
            return
        self._leaving = True
        self._notifier.stopping()
        self._tell_workers()  # readiness first
        if self._phase is Phase.RUNNING and self._drain_delay:
            say("info", "leaving", seconds=self._drain_delay)
            asyncio.get_running_loop().call_later(self._drain_delay, self._drain)
        else:
            self._drain()

    def _drain(self) -> None:
        self._phase = Phase.STOPPING
        for slot in self._slots:
            slot.refuse_new()
        for child in self._workers.values():
            if not child.exited:
                child.send(Drain(self._drain_seconds, handed_over=any(slot.outlive_us for slot in self._slots)))
        say("info", "draining", seconds=self._drain_seconds)
        for slot in self._slots:
            slot.close()
        shadow = 2 * SHADOW_DRAIN_SECONDS if self._shadow is not None else 0.0
        asyncio.get_running_loop().call_later(self._drain_seconds + shadow + 2.0, self._end)
        self._stop_the_others_after_workers()

    def _stop_the_others_after_workers(self) -> None:
        if not all(child.exited for child in self._workers.values()):
            return
        shadow, loop = self._shadow, asyncio.get_running_loop()
        if shadow is not None and shadow.pid and not shadow.exited:
            shadow.send(Drain(SHADOW_DRAIN_SECONDS))
            loop.call_later(2 * SHADOW_DRAIN_SECONDS, shadow.end)
        elif self._admin is not None and not self._admin.exited:
            self._admin.send(Drain(2.0))
        else:
            self._done.set()

    def _end(self) -> None:
        self._phase = Phase.STOPPING
        for child in self._children():
            child.kill()
        self._done.set()
