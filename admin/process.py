"""The admin process: `python -m admin.process --control-fd N CONFIG`, started by the supervisor.

In order: read the configuration, open the store, publish to the workers, and only then import and start the API, since the
gateway serves as soon as the workers have a snapshot. The control socket is the way to the supervisor; its end is the end
of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from setproctitle import setproctitle

from proxy.control import (
    HEARTBEAT_SECONDS,
    Channel,
    DiffReport,
    DiffsWanted,
    Drain,
    Failed,
    Heartbeat,
    InForce,
    Message,
    Notice,
    Published,
    Ready,
    Reload,
    Reloaded,
    Stats,
    Workers,
)
from proxy.tasks import spawn

if TYPE_CHECKING:
    from admin.health import HealthChecks
    from admin.notify.news import News
    from admin.rollout.loop import Rollouts
    from admin.server import Server
    from admin.startup import Settings, Started

# How long pending writes may take when there is no Drain message to say so.
LAST_CHANCE_SECONDS = 5.0
# What else the end may take, beyond the patience of three writers.
END_SECONDS = 10.0


class AdminProcess:
    """`on_end` is told within how many seconds it will have ended."""

    def __init__(self, settings: Settings, on_end: Callable[[float], None] = lambda seconds: None) -> None:
        from admin.diffs import Diffs
        from admin.logs import start_logging
        from admin.rates import Rates

        # life
        self._settings = settings
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._log = start_logging("admin")
        self._started: Started | None = None
        self.server: Server | None = None
        self._checks: HealthChecks | None = None
        self._rollouts: Rollouts | None = None
        self._news: News | None = None
        self._ending = asyncio.Event()
        self._patience = LAST_CHANCE_SECONDS
        """Seconds that pending writes get at the end."""
        # connection to the supervisor, and what came over it
        self._channel = Channel(self._received, self._supervisor_lost)
        self._rates = Rates(self._loop.time)
        self._diffs = Diffs(
            self._channel.send, lambda error: self._log.error("diffs could not be stored", error=str(error))
        )
        self._in_force: asyncio.Future[InForce] = self._loop.create_future()

    async def run(self, control: socket.socket) -> int:
        """The exit code."""
        from admin.startup import StartError

        await self._loop.create_unix_connection(lambda: self._channel, sock=control)
        self._heartbeat()
        try:
            await self._start()
            self._channel.send(Ready())
            gc.freeze()
            gc.enable()
            await self._ending.wait()
        except StartError as error:
            self._log.error("cannot start", reason=str(error))
            self._channel.send(Failed(str(error)))
            return 1
        finally:
            self._on_end(3 * self._patience + END_SECONDS)
            await self._stop()
        return 0

    async def _start(self) -> None:
        from admin.publisher import SupervisorGoneError
        from admin.startup import StartError, start

        self._started = started = await start(
            self._settings, self._in_force, self._channel.send, self._diffs, self._log
        )
        try:
            receipt = await started.gateway.publish_all()
        except SupervisorGoneError:
            return
        if not receipt.applied:
            self._log.error("not every worker has taken the configuration", receipt=receipt.to_json())
        from admin.health import HealthChecks
        from admin.notify.news import News
        from admin.rollout.loop import begin_rollouts
        from admin.server import ServeError, Server

        in_force = self._in_force.result()
        self._checks = HealthChecks(started.gateway, self._log, fresh=not (in_force.revision or in_force.upgraded))
        self._checks.adopt()
        try:
            if started.pending is not None:
                await started.gateway.journal.keep(started.pending)
            self._news = news = News(started.gateway, self._log)
            self._rollouts = rollouts = begin_rollouts(started.gateway, self._rates, self._diffs, self._log, news.heard)
            rollouts.take_up(started.rollouts)
            self.server = await Server.start(
                started, self._settings, self._rates, self._diffs, rollouts, news, self._log
            )
        except ServeError as error:
            raise StartError(str(error)) from error

    async def _stop(self) -> None:
        if self._checks is not None:
            self._checks.stop()
        if self.server is not None:
            await self.server.stop()
        if self._rollouts is not None:
            await self._rollouts.stop()
        if self._started is not None:
            await self._started.gateway.journal.close(self._patience)
            await self._diffs.close(self._patience)
            if self._news is not None:
                await self._news.close(self._patience)
            await self._started.store.close()
        self._channel.close()
        await asyncio.sleep(0)  # lets the transport write out what is left

    def _heartbeat(self) -> None:
        self._channel.send(Heartbeat())
        if not self._ending.is_set():
            self._loop.call_later(HEARTBEAT_SECONDS, self._heartbeat)

    def _received(self, message: Message) -> None:
        match message:
            case Stats():
                self._rates.add(message)
                self._diffs.received(message)
                if self._rollouts is not None:
                    self._rollouts.counted(message.arms)
            case DiffReport() | DiffsWanted():
                self._diffs.received(message)
            case Published() if self._started is not None:
                self._started.publisher.answered(message)
            case Workers():
                self._rates.adopt(message)
            case Notice(source, level, event, detail):
                report = (
                    self._log.error if level == "error" else self._log.warning if level == "warning" else self._log.info
                )
                report(event, source=source, detail=detail)
            case InForce() if not self._in_force.done():
                self._in_force.set_result(message)
            case Reload():
                self._reload()
            case Drain(seconds):
                self._patience = seconds
                self._ending.set()
            case _:
                self._log.warning("a message that is not for admin", message=type(message).__name__)

    def _reload(self) -> None:
        if self.server is None:
            self._log.warning("asked to reload before the start was over; ignored")
            self._channel.send(Reloaded())
            return
        server = self.server

        async def reload() -> None:
            try:
                await server.reload()
            finally:
                self._channel.send(Reloaded())

        spawn(reload(), "reload", lambda error: self._log.error("the reload failed", error=repr(error)))

    def _supervisor_lost(self) -> None:
        if self._started is not None:
            self._started.publisher.lost()
        elif not self._in_force.done():
            self._in_force.set_result(InForce(0, {}))
        self._ending.set()


async def _run(arguments: argparse.Namespace) -> int:
    from admin.startup import Settings

    settings = Settings(arguments.config, os.environ, arguments.state)
    with socket.socket(fileno=arguments.control_fd) as control:
        return await AdminProcess(settings, _die_after).run(control)


def _die_after(seconds: float) -> None:
    """Whatever hangs by then, be it a disk or a thread that the end of the loop waits for: without a supervisor nobody would kill
    this process, which holds the state folder's lock."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="headgate admin", description=__doc__)
    parser.add_argument(
        "--control-fd", type=int, required=True, metavar="N", help="the inherited socket to the supervisor"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="the folder the gateway runs with; else the file's")
    parser.add_argument("config", type=Path)
    arguments = parser.parse_args()
    setproctitle("headgate: admin")
    gc.disable()  # until it serves: what is made up to then stays, and looking for garbage among it took 60 of 700 ms
    return uvloop.run(_run(arguments))


if __name__ == "__main__":
    sys.exit(main())
