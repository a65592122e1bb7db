"""Hot restart: the supervisor becomes the new code by exec(2), with the listening sockets open, and starts everything anew.

Theory of operation. exec keeps the process id (a service manager notices nothing), the children, and the descriptors that we
name; it closes the control sockets, by which the old children know. The old workers drain as they always do without a
supervisor. The old admin process stores what is pending and lets go of the writer's lock, for which the new launch waits before
it reads the state. What connects meanwhile waits in the accept queues, which nobody closes. A change that comes too late to be
told to the workers is answered with an error, or not at all: nobody is told of a change that is lost.

Nobody can tell the old workers of a cutback any more. So the first change after the upgrade ends those that still drain, as it
would end any worker that does not acknowledge.

What active checks have found goes with the exec: an endpoint that is down is not asked again by a client's request first. What the
old workers had ejected the new ones find out by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from admin.listeners import WorkerSockets
from admin.log_line import say
from proxy.control import InForce, Publish
from routing.snapshot import Endpoints

VARIABLE = "HEADGATE_UPGRADE"
# Everything that a start imports, so that a half-installed version is found out before it is too late.
_CHECK = """
import json, pathlib, sys
import admin.cli, admin.launch, admin.process, admin.server, proxy.worker, shadow.process
problem = admin.launch.upgrade_problem(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))
sys.exit(problem)
"""


@dataclass(slots=True)
class LeftOver:
    """Processes of before the upgrade, and the sockets: one list a worker, in the order of `listen`."""

    pids: list[int] = field(default_factory=list)
    sockets: list[list[socket.socket]] = field(default_factory=list)
    outlive_us: bool = False
    unhealthy: dict[str, list[str]] | None = None
    """By upstream, what active checks had found; None at an ordinary start."""

    def found(self) -> InForce:
        """What a first admin process goes on from."""
        endpoints = {name: Endpoints(unhealthy=frozenset(urls)) for name, urls in (self.unhealthy or {}).items()}
        return InForce(0, {}, endpoints, upgraded=self.unhealthy is not None)

    def reap(self) -> None:
        """exec has kept them as our children."""
        if self.pids:
            self.pids = [pid for pid in self.pids if not _reaped(pid, os.WNOHANG)]

    def end(self) -> None:
        """At once; returns when they are gone. The admin process already is: the writer's lock was waited for."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.pids:
            _reaped(self.pids.pop(), 0)


def _reaped(pid: int, options: int) -> bool:
    try:
        return os.waitpid(pid, options)[0] != 0
    except ChildProcessError:
        return True


async def fit(config: Path, slots: list[WorkerSockets]) -> bool:
    """Whether the new code and its configuration can run with these sockets; says why not."""
    addresses = orjson.dumps([[sock.getsockname()[:2] for sock in slot.sockets] for slot in slots]).decode()
    command = [sys.executable, "-P", "-c", _CHECK, str(config), addresses]
    check = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await check.communicate()
    if check.returncode != 0:
        said = output.decode(errors="replace").strip().splitlines()
        say(
            "error",
            "not upgraded: the new version or its configuration cannot run",
            reason=said[-1:] or check.returncode,
        )
    return check.returncode == 0


def become(config: Path, slots: list[WorkerSockets], pids: list[int], state: Publish | None) -> None:
    """Does not return. `pids` are our children, `state` is what they have."""
    say("info", "upgrading", pid=os.getpid())
    fds = [[sock.fileno() for sock in slot.sockets] for slot in slots]
    for fd in (fd for own in fds for fd in own):
        os.set_inheritable(fd, True)
    unhealthy = {name: sorted(found.unhealthy) for name, found in (state.endpoints if state else {}).items()}
    kept = {"pids": pids, "sockets": fds, "outlive_us": slots[0].outlive_us, "unhealthy": unhealthy}
    for number in (signal.SIGHUP, signal.SIGUSR2):  # until there are handlers again, they would end us
        signal.signal(number, signal.SIG_IGN)
    command = [sys.executable, "-P", "-m", "admin.cli", "run", str(config)]
    os.execve(sys.executable, command, {**os.environ, VARIABLE: orjson.dumps(kept).decode()})  # noqa: S606


def left_over(environ: MutableMapping[str, str]) -> LeftOver | None:
    """What `upgrade` has kept for us, or None at an ordinary start."""
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    kept = orjson.loads(text)
    for fd in (fd for own in kept["sockets"] for fd in own):
        os.set_inheritable(fd, False)
    sockets = [[socket.socket(fileno=fd) for fd in own] for own in kept["sockets"]]
    return LeftOver(kept["pids"], sockets, kept["outlive_us"], kept.get("unhealthy"))
