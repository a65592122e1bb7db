"""A differ process: `python -m shadow.differ --fd FD --number K`. Jobs in, one after another; what differs out.

It has one thread and no event loop, the lowest priority, a bound on its memory and a deadline for each job, counted in
processor time of its own: on a busy machine it may wait long for its turn, and that says nothing about the job. Its parent
watches from outside (shadow/differs.py), since C code may not let the deadline through. It ends when its socket does.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import signal
import socket
import time
import traceback
from pathlib import Path
from types import FrameType

from setproctitle import setproctitle

from shadow.answer import Answer
from shadow.compare import Comparer
from shadow.jobs import Adopt, Done, Frames, Job, Ready, framed
from shadow.verdict import Compared, Reason

DEADLINE_SECONDS = 0.2
"""Of processor time."""
# The signal comes again, since Python drops an exception that is raised inside a finalizer.
_AGAIN_SECONDS = 0.02
MOST_MEMORY = 768 * 1024 * 1024
"""In bytes of address space, beyond what the imports have reserved: cachebox, which deepdiff uses, takes 1 GB and uses none."""
# Documents are trees, freed without the collector; with Python's 700 it would run several times a job.
_GC_THRESHOLD = 50_000
_READ = 256 * 1024


class DeadlineError(BaseException):
    """Not an Exception: nothing between the signal and the loop may take it for an error of its own."""


class Differ:
    def __init__(self, deadline: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline
        self._armed = False
        self._adopted: dict[str, Adopt] = {}
        self._comparers: dict[str, Comparer] = {}
        signal.signal(signal.SIGPROF, self._passed)

    def adopt(self, adopt: Adopt) -> None:
        """Compiled with the first job, so that what is wrong with the rules is an answer to it."""
        self._adopted[adopt.route] = adopt
        self._comparers.pop(adopt.route, None)

    def done(self, job: Job) -> Done:
        begun = time.process_time()
        error = ""
        try:
            compared = self._in_time(job)
        except (MemoryError, SystemError):
            # orjson, out of memory half way through, makes Python complain of orjson, or dies: then the job is `crashed`.
            compared = Compared(Reason.TOO_LARGE.value)
        except Exception:
            compared, error = Compared(Reason.FAILED.value), traceback.format_exc()
        return Done(job.number, compared, time.process_time() - begun, error)

    def _in_time(self, job: Job) -> Compared:
        try:
            try:
                self._armed = True
                signal.setitimer(signal.ITIMER_PROF, self._deadline, _AGAIN_SECONDS)
                return self._compared(job)
            finally:
                self._disarm()
        except DeadlineError:
            # It may have come in the middle of disarming.
            self._disarm()
            return Compared(Reason.DEADLINE.value)

    def _compared(self, job: Job) -> Compared:
        primary, shadow, *third = [Answer(*answer) for answer in job.answers]
        comparer = self._comparers.get(job.route)
        if comparer is None:
            rules = self._adopted[job.route]
            comparer = self._comparers[job.route] = Comparer(rules.comparing, rules.redacting)
        return comparer.compare(primary, shadow, third[0] if third else None)

    def _disarm(self) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _passed(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            raise DeadlineError


def serve(sock: socket.socket) -> None:
    """Until the other end closes. Jobs are answered in their order."""
    differ = Differ()
    frames = Frames()
    sock.sendall(framed(Ready()))
    while data := sock.recv(_READ):
        for frame in frames.feed(data):
            if isinstance(frame, Adopt):
                differ.adopt(frame)
            elif isinstance(frame, Job):
                sock.sendall(framed(differ.done(frame)))


def _address_space() -> int:
    """Bytes, by proc_pid_statm(5)."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(prog="shadow.differ")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--number", type=int, default=0)
    arguments = parser.parse_args()
    setproctitle(f"headgate: differ {arguments.number}")
    # An interrupt at the terminal goes to the supervisor's children too; ours ends us by closing the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(19)
    most = _address_space() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold answers
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    with socket.socket(fileno=arguments.fd) as sock:
        try:
            serve(sock)
        except (BrokenPipeError, ConnectionResetError):
            return


if __name__ == "__main__":
    main()
