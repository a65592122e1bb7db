"""What is done to the gateway under load, and what is promised all the same."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from admin.errors import CommandError
from tests.chaos.load import Failure
from tests.chaos.origin import Mood
from tests.chaos.scene import PATIENCE, Scene
from tests.support.processes import all_end, descendants, watched

YEAR = 365 * 86400


class Who(Enum):
    REQUESTS = "requests"
    """Those that were under way."""
    CONNECTIONS = "connections"
    """Requests over connections that were there: the client of a worker that is dead may not know of it yet."""
    NEWCOMERS = "newcomers"
    """Requests over connections that began."""


@dataclass(frozen=True, slots=True)
class Excuse:
    """A request may fail with one of `kinds` where it is one of `who` between these times (monotonic)."""

    began: float
    ended: float
    kinds: tuple[str, ...] = ("broken",)
    who: Who = Who.REQUESTS

    def covers(self, failure: Failure) -> bool:
        since = failure.began if self.who is Who.REQUESTS else failure.connected
        until = failure.connected if self.who is Who.NEWCOMERS else failure.ended
        return failure.kind in self.kinds and since <= self.ended and until >= self.began


Play = Callable[[Scene], list[Excuse]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`refuses` says that for a while nobody listens."""

    name: str
    promise: str
    play: Play
    refuses: bool = False


def _recovered(scene: Scene) -> None:
    scene.answers(100)
    scene.whole()
    scene.settled()


def _strike(role: str, number: signal.Signals) -> Play:
    """Until it is gone."""

    def play(scene: Scene) -> list[Excuse]:
        name = scene.next_worker() if role == "worker" else role
        pid = scene.pid(name)
        with watched(pid) as ends:
            began = time.monotonic()
            os.kill(pid, number)
            assert all_end(ends), f"{name} is there still"
        ended = time.monotonic()
        _recovered(scene)
        return [Excuse(began, ended, who=Who.CONNECTIONS)] if role == "worker" else []

    return play


def _freeze_supervisor(scene: Scene) -> list[Excuse]:
    before = scene.pids()
    scene.gateway.signal(signal.SIGSTOP)
    scene.rest(time.monotonic() + 3.0)
    scene.gateway.signal(signal.SIGCONT)
    _recovered(scene)
    assert scene.pids() == before, "a process was replaced"
    return []


def _kill_upstream(scene: Scene) -> list[Excuse]:
    began = time.monotonic()
    scene.canary.kill()
    ended = time.monotonic()
    scene.answers(300)
    scene.canary.start()
    scene.answers(50, "canary")
    return [Excuse(began, ended)]


def _mood(mood: Mood, enough: Callable[[Scene], None], *excused: str) -> Play:
    def play(scene: Scene) -> list[Excuse]:
        began = time.monotonic()
        scene.canary.be(mood)
        enough(scene)
        scene.canary.be(Mood.WELL)
        ended = time.monotonic()
        scene.settled()
        return [Excuse(began, ended, excused)] if excused else []

    return play


def _no_files(scene: Scene) -> list[Excuse]:
    """So few descriptors are left to a worker that newcomers alone use them up."""
    name = scene.next_worker()
    pid = scene.pid(name)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    began = time.monotonic()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(Path(f"/proc/{pid}/fd"))) + 4, limits[1]))
    with contextlib.ExitStack() as idle:
        for _ in range(100):
            with contextlib.suppress(OSError):
                idle.enter_context(socket.create_connection(scene.gateway.addresses[0], 5))
        scene.answers(300)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    excuse = Excuse(began, time.monotonic(), ("broken", "502", "503"), Who.CONNECTIONS)
    _recovered(scene)
    assert scene.pid(name) == pid, "the worker did not survive"
    return [excuse]


def _kill_admin_in_a_cutback(scene: Scene) -> list[Excuse]:
    for delay in (0.002, 0.005, 0.01):  # before it is published, in the midst, before it is stored or answered
        _kill_admin_after(scene, delay)
    return []


def _kill_admin_after(scene: Scene, delay: float) -> None:
    """Whatever became of the call: what it answered is true, and what the gateway does is what it says."""
    answers: list[Any] = []

    def cut_back() -> None:
        with contextlib.suppress(CommandError, AssertionError, OSError):
            answers.append(scene.gateway.cutback(reason="chaos"))

    thread = threading.Thread(target=cut_back)
    pid = scene.pid("admin")
    with watched(pid) as ends:
        thread.start()
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        assert all_end(ends)
    thread.join()
    _recovered(scene)
    cut = scene.gateway.route()["cutback"] is not None
    assert cut or not answers, "a cutback that was answered is gone"
    _as_told(scene, cut=cut)
    if cut:
        scene.gateway.restore()


def _as_told(scene: Scene, *, cut: bool) -> None:
    """The canary gets requests, or not one."""
    scene.settled()
    before = scene.load.served["canary"]
    scene.answers(300)
    more = scene.load.served["canary"] - before
    assert (more == 0) is cut, f"cut back: {cut}, and the canary got {more}"


def _fill_disk(scene: Scene) -> list[Excuse]:
    assert scene.disk is not None
    with scene.disk.full(lambda: scene.pid("admin")):
        receipt = scene.gateway.cutback(reason="the disk is full")["receipt"]
        assert (receipt["applied"], receipt["persisted"]) == (True, False), receipt
        _as_told(scene, cut=True)
        scene.gateway.restore()
        _as_told(scene, cut=False)
    scene.gateway.until(lambda: scene.gateway.status()["store"]["pending"] == 0, "what was owed is stored", PATIENCE)
    _recovered(scene)
    return []


def _jump_clock(scene: Scene) -> list[Excuse]:
    assert scene.clock is not None
    if not scene.clock.movable:
        return []
    before, years = scene.pids(), set()
    try:
        for jump in (YEAR, -YEAR):
            scene.clock.jump(jump)
            scene.gateway.cutback(reason="another year")
            _as_told(scene, cut=True)
            years.add(scene.gateway.route()["cutback"]["at"][:4])
            scene.gateway.restore()
    finally:
        scene.clock.jump(0)
    _as_told(scene, cut=False)
    assert len(years) == 2, f"the clock did not jump: {years}"
    assert scene.pids() == before, "a process was replaced"
    return []


def _damage_database(scene: Scene) -> list[Excuse]:
    """Before the next admin process reads it: nobody starts one while the supervisor stands still."""
    scene.gateway.weights(blue=3, canary=1)
    aside = len(scene.gateway.status()["store"]["kept_aside"])
    admin = scene.pid("admin")
    scene.gateway.signal(signal.SIGSTOP)
    with watched(admin) as ends:
        os.kill(admin, signal.SIGKILL)
        assert all_end(ends)
    state = scene.gateway.state
    for name in ("state.sqlite3-wal", "state.sqlite3-shm"):
        (state / name).unlink(missing_ok=True)
    (state / "state.sqlite3").write_bytes(b"scribble" * 4096)
    scene.gateway.signal(signal.SIGCONT)
    _recovered(scene)
    assert len(scene.gateway.status()["store"]["kept_aside"]) == aside + 1, "the damage was not told"
    assert scene.gateway.route()["weights"] == {"blue": 3, "canary": 1}
    scene.gateway.weights(blue=50, canary=50)
    return []


def _reload(scene: Scene) -> list[Excuse]:
    for number in range(5):
        _reload_with(scene, [f"192.0.2.{number}/32"])
    _reload_with(scene, [])
    _recovered(scene)
    return []


def _reload_with(scene: Scene, trusted: list[str]) -> None:
    """Returns once it is in force."""
    revision = scene.gateway.status()["revision"]
    scene.gateway.write({**scene.settings, "trusted_proxies": trusted})
    scene.gateway.signal(signal.SIGHUP)
    scene.gateway.until(lambda: scene.gateway.status()["revision"] > revision, "the file is in force", PATIENCE)
    scene.answers(50)


def _hot_restart(scene: Scene) -> list[Excuse]:
    pid, mark = scene.gateway.pid, scene.gateway.mark
    before = descendants(pid)
    with contextlib.ExitStack() as closing:
        ends = [end for own in before for end in closing.enter_context(watched(own))]
        scene.gateway.signal(signal.SIGUSR2)
        scene.gateway.logged("serving", after=mark, patience=PATIENCE)
        assert all_end(ends, PATIENCE), "a process of before is there still"
    assert scene.gateway.pid == pid
    _recovered(scene)
    return []


def _stop_and_start(scene: Scene) -> list[Excuse]:
    assert scene.gateway.stop() == 0
    scene.gateway.start()
    _recovered(scene)
    return []


def _kill_supervisor(scene: Scene) -> list[Excuse]:
    """Nobody is left to keep newcomers out: one that comes in the instant in which a worker closes its socket is reset."""
    began = time.monotonic()
    scene.gateway.signal(signal.SIGKILL)
    scene.gateway.end()  # the others have ended, too
    ended = time.monotonic()
    scene.gateway.start()
    _recovered(scene)
    return [Excuse(began, ended, who=Who.NEWCOMERS)]


_ITS_OWN = "only requests in flight on it fail; it is replaced"
_NOBODY = "no request fails; it is replaced"

FAULTS = (
    Fault("SIGKILL a worker", _ITS_OWN, _strike("worker", signal.SIGKILL)),
    Fault("SIGSTOP a worker", "killed after 2 s; " + _ITS_OWN, _strike("worker", signal.SIGSTOP)),
    Fault("SIGKILL admin", _NOBODY, _strike("admin", signal.SIGKILL)),
    Fault("SIGSTOP admin", _NOBODY, _strike("admin", signal.SIGSTOP)),
    Fault("SIGKILL the shadow process", _NOBODY, _strike("shadow", signal.SIGKILL)),
    Fault("SIGSTOP the shadow process", _NOBODY, _strike("shadow", signal.SIGSTOP)),
    Fault("SIGKILL a differ", _NOBODY, _strike("differ 0", signal.SIGKILL)),
    Fault("SIGSTOP a differ", _NOBODY, _strike("differ 0", signal.SIGSTOP)),
    Fault("SIGSTOP the supervisor for 3 s", "no request fails, nothing is replaced", _freeze_supervisor),
    Fault(
        "SIGKILL admin in a cutback (three moments)",
        "what was answered is in force, before and after",
        _kill_admin_in_a_cutback,
    ),
    Fault("six reloads", "no request fails", _reload),
    Fault(
        "upstream killed, started again",
        "only answers that had begun are cut; the rest is tried elsewhere",
        _kill_upstream,
    ),
    Fault(
        "upstream hangs",
        "what it has got fails with 504 after `timeouts.response`",
        _mood(Mood.HANGING, lambda scene: scene.failures(8), "504"),
    ),
    Fault(
        "upstream resets in mid-body",
        "its answers are cut and never look complete",
        _mood(Mood.CUTTING, lambda scene: scene.failures(100), "broken"),
    ),
    Fault(
        "upstream answers byte by byte",
        "no request fails",
        _mood(Mood.DRIPPING, lambda scene: scene.answers(16, "canary")),
    ),
    Fault(
        "upstream closes kept connections at reuse",
        "no request fails",
        _mood(Mood.CLOSING, lambda scene: scene.answers(300, "canary")),
    ),
    Fault(
        "file descriptors of a worker exhausted",
        "open connections are served on; newcomers may be refused; nothing is left of it",
        _no_files,
    ),
    Fault(
        "disk full under the state folder",
        "no request fails; a cutback and its end are in force at once, and stored once there is room",
        _fill_disk,
    ),
    Fault("wall clock a year ahead, a year behind", "no request fails, nothing is replaced", _jump_clock),
    Fault(
        "state database damaged while admin is dead",
        "no request fails; what is in force stays, and the damage is told",
        _damage_database,
    ),
    Fault("hot restart (SIGUSR2)", "no request fails, no connection is refused", _hot_restart),
    Fault("SIGTERM, and a start", "who was let in is answered", _stop_and_start, refuses=True),
    Fault(
        "SIGKILL the supervisor, and a start",
        "the workers end what is in flight; newcomers may be reset; state and all are there at the next start",
        _kill_supervisor,
        refuses=True,
    ),
)
LAST = 3
"""So many at the end take all processes with them, and their memory."""
