"""The differ processes, seen from the shadow process: a bounded queue, a cap on their processor time, a kill where one is stuck.

Rules:
- Nothing waits: a pair that can't be queued is refused at once, and the caller counts it.
- A differ starts with the first job, and has at most two: one it works on, one that is ready when it is done.
- A job whose differ has spent 250 ms of processor time on it, or 10 s of any time, is lost with it (`deadline`). So is one whose
  differ dies (`crashed`). The job behind it has not begun and goes to the next differ.
- A differ that dies is started again when there is a job: at once if it had lived for 10 s, else after a pause that doubles.
- Together they use at most `share` of one processor, averaged over a second: each answer's time is taken from a bucket that
  fills at that rate, and nothing is handed out while it is empty.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from proxy.tasks import spawn
from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.differ_process import DifferProcess, cpu_of
from shadow.jobs import Adopt, Done, Job, plain
from shadow.verdict import Compared, Reason

AHEAD = 4
CPU_SECONDS = 0.25
WALL_SECONDS = 10.0  # long: at the lowest priority it may get no processor for seconds
BOOT_SECONDS = 20.0
SHARE = 0.25
MOST_JOBS = 256
MOST_BYTES = 16 * 1024 * 1024
_SWEEP_SECONDS = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_OLD_SECONDS = 10.0

Rules = tuple[Comparing, Redacting]


class Waiting:
    """A job, queued or handed out. `size` is in bytes."""

    __slots__ = ("answers", "done", "route", "size")

    def __init__(self, route: str, answers: Iterable[Answer | None], done: Callable[[Compared], None]) -> None:
        self.route = route
        self.answers = [answer for answer in answers if answer is not None]
        self.done = done
        self.size = sum(len(answer.body) + sum(map(len, answer.lines)) for answer in self.answers)


class CpuBucket:
    """Processor seconds that may be spent: `share` more each second, at most a second's worth. May go below zero by one job."""

    def __init__(self, share: float, now: float) -> None:
        self._share = share
        self._level = share
        self._at = now

    def spend(self, seconds: float) -> None:
        self._level -= seconds

    def wait(self, now: float) -> float:
        """Seconds until there is something to spend; 0 if there is."""
        self._level = min(self._share, self._level + self._share * (now - self._at))
        self._at = now
        return 0.0 if self._level > 0 else -self._level / self._share + 0.001


class Slot:
    """A place for one differ: the process that is in it, and what it was given. `since` and `cpu` say when the first of `jobs`
    came to be first, and how much processor time had been used then."""

    __slots__ = ("cpu", "jobs", "known", "number", "pause", "process", "ready", "resume_at", "since", "started_at")

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: DifferProcess | None = None
        self.ready = False
        self.jobs: deque[tuple[int, Waiting]] = deque()
        self.known: dict[str, Rules] = {}
        self.since = 0.0
        self.cpu = 0.0
        self.started_at = 0.0
        self.resume_at = 0.0
        self.pause = 0.0


class Differs:
    """`on_error` gets what should not have happened. `clock` is monotonic; `cpu` gives a process's processor time."""

    def __init__(
        self,
        count: int,
        on_error: Callable[[BaseException], None],
        *,
        share: float = SHARE,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[int], float] = cpu_of,
    ) -> None:
        self.kills = 0
        self.crashes = 0
        self._on_error = on_error
        self._clock = clock
        self._cpu = cpu
        self._bucket = CpuBucket(share, clock())
        self._slots = [Slot(number) for number in range(count)]
        self._rules: Mapping[str, Rules] = {}
        self._queue: deque[Waiting] = deque()
        self._bytes = 0
        self._numbers = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Pairs that have no answer yet."""
        return len(self._queue) + sum(len(slot.jobs) for slot in self._slots)

    @property
    def pids(self) -> list[int]:
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def adopt(self, rules: Mapping[str, Rules]) -> None:
        """The rules of all routes with a shadow. They are in force for the pairs that no differ has yet."""
        self._rules = dict(rules)

    def submit(self, route: str, answers: Iterable[Answer | None], done: Callable[[Compared], None]) -> bool:
        """Compare the primary's answer, the shadow's and maybe a third. `done` is called once with what was found, unless this
        is False or all is closed."""
        job = Waiting(route, answers, done)
        full = len(self._queue) >= MOST_JOBS or (self._bytes > 0 and self._bytes + job.size > MOST_BYTES)
        if self._closed or full or self._bucket.wait(self._clock()) > 0:
            return False
        self._queue.append(job)
        self._bytes += job.size
        self._hand_out()
        return True

    def close(self) -> None:
        """End them all. What was not compared never will be."""
        self._closed = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        for slot in self._slots:
            slot.jobs.clear()
            if slot.process is not None:
                slot.process.end()

    def _hand_out(self) -> None:
        """Jobs to differs, as many as may be; then wait for an answer or the time for the next look."""
        now = self._clock()
        wait = self._bucket.wait(now)
        while self._queue and wait == 0 and (slot := self._free(now)) is not None:
            job = self._queue.popleft()
            self._bytes -= job.size
            rules = self._rules.get(job.route)
            if rules is None:
                self._finish(job, Compared(Reason.GONE.value))
            else:
                self._give(slot, job, rules, now)
        if self._timer is None and not self._closed and self.waiting:
            seconds = min(_SWEEP_SECONDS, wait) if wait else _SWEEP_SECONDS
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _free(self, now: float) -> Slot | None:
        """The differ with the fewest jobs that can take one more. Starts those that are not there."""
        for slot in self._slots:
            if slot.process is None and now >= slot.resume_at:
                self._start(slot, now)
        return min(
            (slot for slot in self._slots if slot.ready and len(slot.jobs) < AHEAD),
            key=lambda slot: len(slot.jobs),
            default=None,
        )

    def _give(self, slot: Slot, job: Waiting, rules: Rules, now: float) -> None:
        assert slot.process is not None
        if slot.known.get(job.route) != rules:
            slot.known[job.route] = rules
            slot.process.send(Adopt(job.route, *rules))
        self._numbers += 1
        if not slot.jobs:
            slot.since, slot.cpu = now, self._cpu(slot.process.pid)
        slot.jobs.append((self._numbers, job))
        slot.process.send(Job(self._numbers, job.route, tuple(plain(answer) for answer in job.answers)))

    def _start(self, slot: Slot, now: float) -> None:
        process = DifferProcess(
            slot.number,
            on_ready=lambda: self._is_ready(slot),
            on_done=lambda done: self._answered(slot, done),
            on_exit=lambda: self._exited(slot, process),
        )
        slot.process, slot.started_at = process, now
        spawn(process.start(), f"start of differ {slot.number}", lambda error: self._not_started(slot, process, error))

    def _not_started(self, slot: Slot, process: DifferProcess, error: BaseException) -> None:
        self._on_error(error)
        process.end()
        self._exited(slot, process)

    def _is_ready(self, slot: Slot) -> None:
        slot.ready = True
        self._hand_out()

    def _answered(self, slot: Slot, done: Done) -> None:
        self._bucket.spend(done.cpu)
        number, job = slot.jobs.popleft()
        assert number == done.number, "a differ answers in order"
        assert slot.process is not None
        slot.since, slot.cpu = self._clock(), self._cpu(slot.process.pid)
        if done.error:
            self._on_error(RuntimeError(f"a pair of {job.route} can't be compared: {done.error}"))
        self._finish(job, done.compared)
        self._hand_out()

    def _finish(self, job: Waiting, compared: Compared) -> None:
        try:
            job.done(compared)
        except Exception as error:
            self._on_error(error)

    def _look(self) -> None:
        """The backstop, while there are jobs."""
        self._timer = None
        now = self._clock()
        for slot in self._slots:
            process = slot.process
            if process is None:
                continue
            if not slot.ready:
                if now - slot.started_at > BOOT_SECONDS:
                    self._lose(slot, process, Reason.CRASHED)
            elif slot.jobs:
                used = self._cpu(process.pid) - slot.cpu
                if used > CPU_SECONDS or now - slot.since > WALL_SECONDS:
                    self._bucket.spend(used)
                    self.kills += 1
                    self._lose(slot, process, Reason.DEADLINE)
        self._hand_out()

    def _exited(self, slot: Slot, process: DifferProcess) -> None:
        if slot.process is process and not self._closed:
            self.crashes += 1
            self._lose(slot, process, Reason.CRASHED)
            self._hand_out()

    def _lose(self, slot: Slot, process: DifferProcess, reason: Reason) -> None:
        """The differ, and the job it worked on. The slot is empty before anything is called that may hand out again."""
        now = self._clock()
        slot.pause = (
            0.0 if now - slot.started_at > _OLD_SECONDS else min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * slot.pause))
        )
        slot.resume_at = now + slot.pause
        slot.process, slot.ready, slot.known = None, False, {}
        jobs = [job for _, job in slot.jobs]
        slot.jobs.clear()
        process.end()
        for job in reversed(jobs[1:]):
            self._queue.appendleft(job)
            self._bytes += job.size
        if jobs:
            self._finish(jobs[0], Compared(reason.value))
