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
from pathlib import Path
from typing import Any

from admin.errors import CommandError
from tests.chaos.load import Failure
from tests.chaos.origin import Mood
from tests.chaos.scene import RESPONSE_SECONDS, Scene
from tests.support.processes import all_end, watched

# A client notices the end of a connection so much later at most, on a busy machine.
NOTICED_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Excuse:
    """Between these times (monotonic) a request under way may fail with one of `kinds`: it was in flight on what was killed."""

    began: float
    ended: float
    kinds: tuple[str, ...] = ("broken",)

    def covers(self, failure: Failure) -> bool:
        return failure.kind in self.kinds and failure.began <= self.ended and failure.ended >= self.began


Play = Callable[[Scene], list[Excuse]]


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    promise: str
    play: Play


def _signalled(scene: Scene, role: str, number: signal.Signals) -> Excuse:
    """Until it is gone."""
    pid = scene.pid(role)
    with watched(pid) as ends:
        began = time.monotonic()
        os.kill(pid, number)
        assert all_end(ends), f"{role} is there still"
    return Excuse(began, time.monotonic() + NOTICED_SECONDS)


def _strike(role: str, number: signal.Signals) -> Play:
    def play(scene: Scene) -> list[Excuse]:
        excuse = _signalled(scene, role, number)
        scene.answers(100)
        scene.whole()
        return [excuse] if role.startswith("worker") else []

    return play


def _freeze_supervisor(scene: Scene) -> list[Excuse]:
    scene.gateway.signal(signal.SIGSTOP)
    scene.rest(time.monotonic() + 3.0)
    scene.gateway.signal(signal.SIGCONT)
    scene.answers(100)
    scene.whole()
    return []


def _kill_upstream(scene: Scene) -> list[Excuse]:
    began = time.monotonic()
    scene.canary.kill()
    ended = time.monotonic() + NOTICED_SECONDS
    scene.answers(300)
    scene.canary.start()
    scene.answers(100)
    return [Excuse(began, ended)]


def _mood(mood: Mood, *excused: str) -> Play:
    def play(scene: Scene) -> list[Excuse]:
        began = time.monotonic()
        scene.canary.be(mood)
        scene.rest(began + 2.0)
        scene.canary.be(Mood.WELL)
        ended = time.monotonic() + NOTICED_SECONDS
        scene.rest(ended + 1.5 * RESPONSE_SECONDS)  # what hangs, ends
        return [Excuse(began, ended, excused)] if excused else []

    return play


def _no_files(scene: Scene) -> list[Excuse]:
    """So few descriptors are left to a worker that newcomers alone use them up."""
    pid = scene.pid("worker 0")
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    began = time.monotonic()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(Path(f"/proc/{pid}/fd"))) + 4, limits[1]))
    with contextlib.ExitStack() as idle:
        for _ in range(100):
            with contextlib.suppress(OSError):
                idle.enter_context(socket.create_connection(scene.gateway.addresses[0], 5))
        scene.answers(300)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    excuse = Excuse(began, time.monotonic() + NOTICED_SECONDS, ("broken", "502", "503"))
    scene.answers(100)
    assert scene.pid("worker 0") == pid, "the worker did not survive"
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
    scene.answers(100)
    scene.whole()
    cut = scene.gateway.route()["cutback"] is not None
    assert cut or not answers, "a cutback that was answered is gone"
    before = scene.load.served["canary"]
    scene.answers(300)
    after = scene.load.served["canary"]
    assert (after == before) is cut, f"cut back: {cut}, and the canary got {after - before}"
    if cut:
        scene.gateway.restore()
    scene.answers(100)


def _reload(scene: Scene) -> list[Excuse]:
    for _ in range(5):
        scene.gateway.signal(signal.SIGHUP)
        scene.answers(50)
    return []


def _stop_and_start(scene: Scene) -> list[Excuse]:
    assert scene.gateway.stop() == 0
    scene.gateway.start()
    scene.answers(100)
    scene.whole()
    return []


def _kill_supervisor(scene: Scene) -> list[Excuse]:
    scene.gateway.signal(signal.SIGKILL)
    scene.gateway.end()  # the others have ended, too
    scene.gateway.start()
    scene.answers(100)
    scene.whole()
    return []


_ITS_OWN = "only requests in flight on it fail; it is replaced"
_NOBODY = "no request fails; it is replaced"

FAULTS = (
    Fault("SIGKILL a worker", _ITS_OWN, _strike("worker 0", signal.SIGKILL)),
    Fault("SIGSTOP a worker", "killed after 2 s; " + _ITS_OWN, _strike("worker 1", signal.SIGSTOP)),
    Fault("SIGKILL admin", _NOBODY, _strike("admin", signal.SIGKILL)),
    Fault("SIGSTOP admin", _NOBODY, _strike("admin", signal.SIGSTOP)),
    Fault("SIGKILL the shadow process", _NOBODY, _strike("shadow", signal.SIGKILL)),
    Fault("SIGSTOP the shadow process", _NOBODY, _strike("shadow", signal.SIGSTOP)),
    Fault("SIGKILL a differ", _NOBODY, _strike("differ 0", signal.SIGKILL)),
    Fault("SIGSTOP a differ", _NOBODY, _strike("differ 0", signal.SIGSTOP)),
    Fault("SIGSTOP the supervisor for 3 s", "no request fails, nothing is replaced", _freeze_supervisor),
    Fault("SIGKILL admin in a cutback", "what was answered is in force, before and after", _kill_admin_in_a_cutback),
    Fault("reload", "no request fails", _reload),
    Fault("upstream killed", "only answers that had begun are cut; the rest is tried elsewhere", _kill_upstream),
    Fault("upstream hangs", "what it has got fails with 504 after `timeouts.response`", _mood(Mood.HANGING, "504")),
    Fault("upstream resets in mid-body", "its answers are cut and never look complete", _mood(Mood.CUTTING, "broken")),
    Fault("upstream answers byte by byte", "no request fails", _mood(Mood.DRIPPING)),
    Fault("upstream closes kept connections at reuse", "no request fails", _mood(Mood.CLOSING)),
    Fault(
        "file descriptors exhausted",
        "open connections are served on; newcomers may be refused; nothing is left of it",
        _no_files,
    ),
    Fault("SIGTERM, and a start", "who was let in is answered", _stop_and_start),
    Fault(
        "SIGKILL the supervisor",
        "the workers end what is in flight; state and all are there at the next start",
        _kill_supervisor,
    ),
)
