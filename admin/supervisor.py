"""The first process: opens sockets, starts the others, keeps them alive, and passes state from admin to the workers.

Theory of operation. It has no HTTP and no store. What admin publishes is kept here, merged, and sent to each worker; a worker
that starts later gets all of it before it accepts. A publish is a round: every worker that has any state must acknowledge
within ACK_SECONDS, or it is killed, and only when it is gone does the round answer. So when a cutback is answered, no
process is left that does not know of it.

Phases: STARTING (a fatal error of any child ends the gateway), RUNNING (a child that dies is started again), STOPPING.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import ssl
import sys
import time
from enum import Enum
from pathlib import Path

import orjson
from setproctitle import setproctitle

from admin.child import Child
from admin.listeners import ListenError, WorkerSockets, open_sockets, workers_of
from proxy.control import (
    Ack,
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
    Stats,
    Workers,
    WorkerSettings,
    WorkerState,
)
from proxy.tasks import spawn
from proxy.worker import server_context
from routing.config import Config
from routing.document import ConfigError
from routing.load import load_file
from routing.snapshot import Live

ACK_SECONDS = 1.0
WATCH_SECONDS = 0.25
# A child that lived shorter than this is started again with growing delay.
CRASH_LOOP_SECONDS = 5.0
MAX_RESTART_DELAY = 5.0


class Phase(Enum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Round:
    """One publish on its way: who has not answered yet, and what the others said."""

    def __init__(self, publish: Publish, workers: set[int], now: float) -> None:
        self.revision = publish.revision
        self.waiting = workers
        self.total = len(workers)
        self.started = now
        self.acked = 0
        self.replaced = 0
        self.in_flight: dict[str, int] = {}
        self.errors: list[str] = []
        self.timer: asyncio.TimerHandle | None = None

    def result(self, now: float) -> Published:
        return Published(
            self.revision, self.acked, self.total, self.replaced, now - self.started, self.in_flight, tuple(self.errors)
        )


class Supervisor:
    def __init__(self, config_path: Path, config: Config, slots: list[WorkerSockets]) -> None:
        self._config_path = config_path
        self._drain_seconds = config.timeouts.drain
        self._slots = slots
        self._phase = Phase.STARTING
        self._workers: dict[int, Child] = {}
        self._revisions: dict[int, int] = {}
        self._admin: Child | None = None
        self._admin_ready = False
        self._restarts = 0
        self._crashes: dict[str, int] = {}
        self._rounds: dict[int, Round] = {}
        self._state: Publish | None = None
        """Everything in force: the last snapshot and all live state since."""
        self._done = asyncio.Event()
        self._exit_code = 0

    # Life

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number, handler in (
            (signal.SIGTERM, self._terminate),
            (signal.SIGINT, self._terminate),
            (signal.SIGHUP, self._reload),
        ):
            loop.add_signal_handler(number, handler)
        await self._start_admin()
        for number in range(len(self._slots)):
            await self._start_worker(number)
        self._watch()
        await self._done.wait()
        return self._exit_code

    async def _start_admin(self) -> None:
        self._admin = Child("admin", self._admin_up, self._from_admin, self._admin_exited)
        await self._admin.start("admin.process", [str(self._config_path)], [])

    async def _start_worker(self, number: int) -> None:
        child = Child(f"worker {number}", self._worker_up, self._from_worker, self._worker_exited)
        self._workers[number] = child
        self._revisions.pop(number, None)
        await child.start("proxy.worker", [], [listener.fd for listener in self._slots[number].listeners])

    def _number(self, child: Child) -> int:
        return next(number for number, worker in self._workers.items() if worker is child)

    # Workers

    def _worker_up(self, child: Child) -> None:
        number = self._number(child)
        child.send(WorkerSettings(number, tuple(self._slots[number].listeners)))
        if self._state is not None:
            self._give_state(number)

    def _give_state(self, number: int) -> None:
        assert self._state is not None
        self._revisions[number] = 0
        self._workers[number].send(self._state)

    def _from_worker(self, child: Child, message: Message) -> None:
        match message:
            case Stats() | Notice():
                self._tell_admin(message)
            case Ready():
                child.ready = True
                self._check_running()
                self._tell_workers()
            case Ack(revision, in_flight):
                self._revisions[self._number(child)] = revision
                self._acked(self._number(child), revision, in_flight, None)
            case Nack(revision, error):
                self._acked(self._number(child), revision, {}, f"{child.name}: {error}")
            case Failed(reason):
                self._failed(child, reason)

    def _worker_exited(self, child: Child) -> None:
        number = self._number(child)
        self._revisions.pop(number, None)
        for round_ in list(self._rounds.values()):
            if number in round_.waiting:  # dead before it answered: as good as replaced
                round_.waiting.discard(number)
                round_.replaced += 1
                self._finish_if_through(round_)
        if self._phase is Phase.STOPPING:
            self._stop_admin_after_workers()
            return
        self._restarts += 1
        self._log("error", "worker exited", worker=number, status=child.exit_status)
        self._tell_workers()
        self._restart(child, lambda: self._start_worker(number))

    # Admin

    def _admin_up(self, child: Child) -> None:
        state = self._state
        child.send(InForce(state.revision if state else 0, dict(state.live) if state else {}))
        self._tell_workers()

    def _from_admin(self, child: Child, message: Message) -> None:
        match message:
            case Publish():
                self._publish(message)
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
        self._log("error", "admin exited; workers serve on", status=child.exit_status)
        if self._phase is Phase.STARTING:
            self._fail("the admin process ended before the gateway was running")
            return
        self._restart(child, self._start_admin)

    def _tell_admin(self, message: Message) -> None:
        if self._admin is not None and self._admin.up and not self._admin.exited:
            self._admin.send(message)

    def _tell_workers(self) -> None:
        self._tell_admin(
            Workers(
                tuple(
                    WorkerState(number, child.pid, child.ready, self._revisions.get(number, 0), child.started_at)
                    for number, child in self._workers.items()
                    if not child.exited
                ),
                self._restarts,
            )
        )

    # Publishing

    def _publish(self, publish: Publish) -> None:
        before = self._state
        if publish.snapshot is not None:
            self._state = publish
        elif before is not None:
            live: dict[str, Live] = {**before.live, **publish.live}
            self._state = Publish(publish.revision, live, before.snapshot)
        else:
            self._log("error", "live state published before any snapshot", revision=publish.revision)
            return
        now = time.monotonic()
        round_ = Round(publish, set(self._revisions), now)
        self._rounds[publish.revision] = round_
        for number in round_.waiting:
            self._workers[number].send(publish)
        for number, child in self._workers.items():
            if child.up and not child.exited and number not in self._revisions:
                self._give_state(number)
        loop = asyncio.get_running_loop()
        round_.timer = loop.call_later(ACK_SECONDS, self._replace_silent, round_)
        self._finish_if_through(round_)

    def _acked(self, number: int, revision: int, in_flight: dict[str, int], error: str | None) -> None:
        round_ = self._rounds.get(revision)
        if round_ is None or number not in round_.waiting:
            return
        round_.waiting.discard(number)
        if error is None:
            round_.acked += 1
        else:
            round_.errors.append(error)
        for upstream, count in in_flight.items():
            round_.in_flight[upstream] = round_.in_flight.get(upstream, 0) + count
        self._finish_if_through(round_)

    def _replace_silent(self, round_: Round) -> None:
        """Who has not acknowledged by now may still be sending requests by the old state: it goes before we answer."""
        for number in list(round_.waiting):
            self._log("error", "worker did not acknowledge; killed", worker=number, revision=round_.revision)
            self._workers[number].kill()
            self._workers[number]._lost()

    def _finish_if_through(self, round_: Round) -> None:
        if round_.waiting or round_.revision not in self._rounds:
            return
        if round_.timer is not None:
            round_.timer.cancel()
        del self._rounds[round_.revision]
        self._tell_admin(round_.result(time.monotonic()))

    # Trouble

    def _watch(self) -> None:
        """Kill children whose event loop has fallen silent; their exit starts them again."""
        now = time.monotonic()
        for child in [*self._workers.values(), *([self._admin] if self._admin is not None else [])]:
            if child.silent(now):
                self._log("error", "child fell silent; killed", child=child.name, pid=child.pid)
                child.kill()
        if self._phase is not Phase.STOPPING:
            asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch)

    def _restart(self, child: Child, start: object) -> None:
        if child.age > CRASH_LOOP_SECONDS:
            self._crashes.pop(child.name, None)
        crashes = self._crashes[child.name] = self._crashes.get(child.name, 0) + 1
        delay = 0.0 if crashes == 1 else min(MAX_RESTART_DELAY, 0.1 * 2 ** (crashes - 2))

        async def later() -> None:
            await asyncio.sleep(delay)
            if self._phase is not Phase.STOPPING:
                await start()  # type: ignore[operator]

        spawn(later(), f"restart {child.name}", self._crashed)

    def _failed(self, child: Child, reason: str) -> None:
        self._log("error", "child cannot run", child=child.name, reason=reason)
        if self._phase is Phase.STARTING:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        """The gateway never ran: one line, and out."""
        if not self._done.is_set():
            print(f"headgate: {reason}", file=sys.stderr)
            self._exit_code = 1
            self._phase = Phase.STOPPING
            self._kill_all()
            self._done.set()

    def _crashed(self, error: BaseException) -> None:
        self._log("error", "supervisor task failed", error=f"{type(error).__name__}: {error}")

    def _check_running(self) -> None:
        if self._phase is Phase.STARTING and self._admin_ready and all(c.ready for c in self._workers.values()):
            self._phase = Phase.RUNNING
            addresses = [listener.address for listener in self._slots[0].listeners]
            self._log("info", "serving", addresses=addresses, workers=len(self._workers), pid=os.getpid())

    # Signals

    def _reload(self) -> None:
        self._tell_admin(Reload())

    def _terminate(self) -> None:
        if self._phase is Phase.STOPPING:
            self._kill_all()
            self._done.set()
            return
        self._phase = Phase.STOPPING
        self._log("info", "draining", seconds=self._drain_seconds)
        for child in self._workers.values():
            if not child.exited:
                child.send(Drain(self._drain_seconds))
        for slot in self._slots:
            slot.close()
        loop = asyncio.get_running_loop()
        loop.call_later(self._drain_seconds + 2.0, self._overdue)
        self._stop_admin_after_workers()

    def _stop_admin_after_workers(self) -> None:
        if all(child.exited for child in self._workers.values()):
            if self._admin is not None and not self._admin.exited:
                self._admin.send(Drain(2.0))
            else:
                self._done.set()

    def _overdue(self) -> None:
        self._kill_all()
        self._done.set()

    def _kill_all(self) -> None:
        for child in [*self._workers.values(), *([self._admin] if self._admin is not None else [])]:
            child.kill()

    def _log(self, level: str, event: str, **fields: object) -> None:
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": level, "event": event, **fields}
        sys.stderr.write(orjson.dumps(line).decode() + "\n")
        sys.stderr.flush()


def _lock_state(folder: Path) -> int:
    """One gateway a state folder. Returns the descriptor that holds the lock; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _check_tls(config: Config) -> str | None:
    """One line about certificate files that can't be used, or None."""
    from proxy.control import ListenerSettings

    for number, listen in enumerate(config.listen):
        if listen.tls is not None:
            settings = ListenerSettings(
                -1, "", str(listen.tls.certificate), str(listen.tls.key), listen.tls.min_version
            )
            try:
                server_context(settings)
            except (OSError, ssl.SSLError) as error:
                return f"listen[{number}].tls: cannot use certificate {listen.tls.certificate} with key {listen.tls.key}: {error}"
    return None


def run_gateway(config_path: Path) -> int:
    """Run the gateway until it is told to stop. Returns the exit code; says on standard error why it can't run."""
    setproctitle("headgate: supervisor")
    try:
        config = load_file(config_path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            print(f"headgate: {problem}", file=sys.stderr)
        return 1
    problem = _check_tls(config)
    if problem is not None:
        print(f"headgate: {problem}", file=sys.stderr)
        return 1
    folder = Path(config.state.dir)
    try:
        lock = _lock_state(folder)
    except BlockingIOError:
        print(f"headgate: state: {folder} is in use by another gateway", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"headgate: state: cannot use {folder}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        slots = open_sockets(config, workers_of(config))
    except ListenError as error:
        print(f"headgate: {error}", file=sys.stderr)
        return 1

    async def run() -> int:
        return await Supervisor(config_path, config, slots).run()

    try:
        return asyncio.run(run())
    finally:
        os.close(lock)
