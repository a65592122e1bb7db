"""The shadow process: `python -m shadow.process --control-fd FD --state DIR`, started by the supervisor.

It gets every state that workers get, and nobody waits for it. First it asks admin for what was found earlier, and takes no copies
until it knows. Losing the supervisor ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import pickle
import signal
import socket
from time import monotonic, time
from typing import cast

import uvloop
from setproctitle import setproctitle

from proxy.capture_frames import SOCKET
from proxy.capture_link import socket_path
from proxy.control import (
    HEARTBEAT_SECONDS,
    Channel,
    DiffsKept,
    DiffsResend,
    DiffsWanted,
    Drain,
    Failed,
    Heartbeat,
    Message,
    Notice,
    Publish,
    Ready,
)
from proxy.worker import raise_file_limit
from routing.snapshot import Snapshot
from shadow.differs import Differs
from shadow.intake import Link
from shadow.mirror import SWEEP_SECONDS, Mirror

REPORT_SECONDS = 1.0
FLUSH_SECONDS = 0.002
LAST_SECONDS = 1.0
# Admin takes what we send at once, or is gone; reports wait then.
MAX_BACKLOG = 16 * 1024 * 1024


class ShadowProcess:
    def __init__(self, control: socket.socket, state: str) -> None:
        self._control = control
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(self._message, self._supervisor_lost)
        self._differs = Differs(_differ_count(), self._crashed)
        self._mirror = Mirror(self._differs, lambda flush: self._loop.call_later(FLUSH_SECONDS, flush), self._crashed)
        self._adopted = False
        self._patience = 0.0
        """Seconds that workers' last copies are waited for at the end."""
        self._stopped = asyncio.Event()
        self._parted = asyncio.Event()

    async def run(self) -> None:
        await self._loop.create_unix_connection(lambda: self._channel, sock=self._control)
        self._channel.send(DiffsWanted())
        self._heartbeat()
        listening = _listening(self._state)
        server = await self._loop.create_unix_server(lambda: cast(asyncio.Protocol, Link(self._mirror)), sock=listening)
        self._sweep()
        self._report()
        self._channel.send(Ready())
        await self._stopped.wait()
        server.close()
        with contextlib.suppress(TimeoutError):  # what workers sent before they ended is still to be read
            await asyncio.wait_for(self._mirror.alone.wait(), self._patience)
        self._differs.close()
        self._mirror.close()
        self._tell()
        self._channel.close()  # once it has written out what there is
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._parted.wait(), LAST_SECONDS)

    # Messages

    def _message(self, message: Message) -> None:
        match message:
            case Publish():
                self._publish(message)
            case DiffsKept(states) if not self._mirror.opened:
                self._mirror.restore(states)
                self._mirror.open()
            case DiffsResend() if self._mirror.opened:
                self._mirror.resend()
            case DiffsResend():  # whoever was asked before has died
                self._channel.send(DiffsWanted())
            case Drain(seconds):
                self._patience = seconds
                self._stopped.set()

    def _publish(self, publish: Publish) -> None:
        try:
            if publish.snapshot is not None:
                snapshot: Snapshot = pickle.loads(publish.snapshot)  # noqa: S301 - from our supervisor
                self._mirror.adopt(snapshot.with_endpoints(publish.endpoints), publish.live)
                self._adopted = True
                gc.collect()
                gc.freeze()  # as in workers: what is there now stays for long
            elif self._adopted:
                self._mirror.apply(publish)
        except Exception as error:  # a CA file that is gone, say: the state before stays
            self._notice("state not adopted", f"{type(error).__name__}: {error}")

    # Time

    def _heartbeat(self) -> None:
        self._channel.send(Heartbeat())
        self._loop.call_later(HEARTBEAT_SECONDS, self._heartbeat)

    def _sweep(self) -> None:
        self._mirror.expire(monotonic())
        self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _tell(self) -> None:
        if self._channel.backlog < MAX_BACKLOG:
            for report in self._mirror.reports(time()):
                self._channel.send(report)
            self._loop.call_soon(self._mirror.reported)  # the loop writes out at the end of a turn, in any order

    def _report(self) -> None:
        self._tell()
        self._loop.call_later(REPORT_SECONDS, self._report)

    # Failure

    def _notice(self, event: str, detail: str) -> None:
        self._channel.send(Notice("shadow", "error", event, detail))

    def _supervisor_lost(self) -> None:
        self._parted.set()
        self._stopped.set()

    def _crashed(self, error: BaseException) -> None:
        self._channel.send(Failed(f"shadow: {type(error).__name__}: {error}"))
        self._loop.call_soon(os._exit, 70)


def _listening(state: str) -> socket.socket:
    """The socket that workers connect to; only this gateway's user may."""
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET, dir_fd=folder)
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listening.bind(socket_path(folder))
    finally:
        os.umask(before)
        os.close(folder)
    return listening


def _differ_count() -> int:
    return 2 if len(os.sched_getaffinity(0)) > 2 else 1


def main() -> None:
    raise_file_limit()
    parser = argparse.ArgumentParser(prog="headgate shadow", description=__doc__)
    parser.add_argument("--control-fd", type=int, required=True, metavar="N")
    parser.add_argument("--state", required=True, metavar="DIR")
    arguments = parser.parse_args()
    setproctitle("headgate: shadow")
    # The terminal's Ctrl-C reaches the whole group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    control = socket.socket(fileno=arguments.control_fd)
    control.setblocking(False)
    gc.set_threshold(10_000, 20, 50)  # pairs leave no cycles

    async def run() -> None:
        await ShadowProcess(control, arguments.state).run()

    uvloop.run(run())


if __name__ == "__main__":
    main()
