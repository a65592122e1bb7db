"""The pool of differ processes, with real ones: what is stuck is killed and counted, what dies is started again, nothing waits."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.differ_process import cpu_of
from shadow.differs import AHEAD, MOST_BYTES, MOST_JOBS, WALL_SECONDS, CpuBucket, Differs
from shadow.jobs import Frames, Job, framed
from shadow.verdict import Compared

JSON = [b"Content-Type: application/json"]
# Takes exponential time on a row of `a`s: the deadline by processor time, in the middle of a call into C.
CATASTROPHIC = Comparing(mask=(r"(?:a|a)*b",))
ENDLESS = "a" * 60


class Clock:
    """Stands still unless moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Pool:
    """Differs with one route, `shop`, and what came of its pairs."""

    def __init__(self, count: int, share: float, clock: Clock, comparing: Comparing) -> None:
        self.errors: list[BaseException] = []
        self.cpu = 0.0
        self.differs = Differs(count, self.errors.append, share=share, clock=clock, cpu=lambda pid: self.cpu)
        self.differs.adopt({"shop": (comparing, Redacting())})
        self.clock = clock

    def submit(self, primary: Any, shadow: Any, done: Callable[[Compared], None], route: str = "shop") -> bool:
        return self.differs.submit(route, (answer(primary), answer(shadow), None), done)

    async def compare(self, primary: Any, shadow: Any, route: str = "shop") -> Compared:
        return await self.later(primary, shadow, route)

    def later(self, primary: Any, shadow: Any, route: str = "shop") -> asyncio.Future[Compared]:
        """Submitted at once; the answer comes."""
        future: asyncio.Future[Compared] = asyncio.get_running_loop().create_future()
        assert self.submit(primary, shadow, future.set_result, route)
        return future

    def submit_until_refused(self, primary: Any) -> list[asyncio.Future[Compared]]:
        futures: list[asyncio.Future[Compared]] = []
        while True:
            future: asyncio.Future[Compared] = asyncio.get_running_loop().create_future()
            if not self.submit(primary, b"", future.set_result):
                return futures
            futures.append(future)

    async def crash(self) -> None:
        """Have the only differ die over a job."""
        (pid,) = self.differs.pids
        os.kill(pid, signal.SIGSTOP)
        begun = self.later(1, 2)
        os.kill(pid, signal.SIGKILL)
        assert (await begun).reason == "crashed"


@asynccontextmanager
async def pool(count: int = 1, share: float = 100.0, comparing: Comparing | None = None) -> AsyncIterator[Pool]:
    made = Pool(count, share, Clock(), comparing or Comparing())
    try:
        yield made
    finally:
        made.differs.close()
    assert made.errors == []


def answer(value: Any) -> Answer:
    return Answer(200, list(JSON), value if isinstance(value, bytes) else orjson.dumps(value), 0.1)


def fields(compared: Compared) -> tuple[str, list[str]]:
    return compared.reason, [difference.field for difference in compared.shadow]


async def test_pair_that_differs_is_compared_in_a_process_of_its_own() -> None:
    async with pool() as differs:
        assert differs.differs.pids == []
        compared = await differs.compare({"price": 1, "name": "a"}, {"price": 2, "name": "a"})
        assert fields(compared) == ("", ["$.price"])
        (pid,) = differs.differs.pids
        assert pid != os.getpid()
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19


async def test_third_answer_is_compared_too() -> None:
    async with pool() as differs:
        future: asyncio.Future[Compared] = asyncio.get_running_loop().create_future()
        answers = answer({"at": 1, "price": 1}), answer({"at": 2, "price": 2}), answer({"at": 3, "price": 1})
        assert differs.differs.submit("shop", answers, future.set_result)
        compared = await future
        assert compared.third is not None
        assert [difference.field for difference in compared.third] == ["$.at"]
        assert compared.shadow_third == {"$.at", "$.price"}


async def test_pairs_are_answered_each_with_its_own() -> None:
    async with pool(count=2) as differs:
        futures = [differs.later({f"n{n}": 1}, {f"n{n}": 2}) for n in range(50)]
        found = [fields(compared) for compared in await asyncio.gather(*futures)]
        assert found == [("", [f"$.n{n}"]) for n in range(50)]
        assert len(differs.differs.pids) == 2
        assert differs.differs.waiting == 0


async def test_new_rules_are_in_force_for_the_next_pair() -> None:
    async with pool() as differs:
        pair = {"at": 1, "price": 1}, {"at": 2, "price": 1}
        assert fields(await differs.compare(*pair)) == ("", ["$.at"])
        differs.differs.adopt({"shop": (Comparing(ignore=("$.at",)), Redacting())})
        assert fields(await differs.compare(*pair)) == ("", [])


async def test_route_without_a_shadow_any_more_gets_no_verdict() -> None:
    async with pool() as differs:
        await differs.compare(1, 2)
        assert (await differs.compare(1, 2, route="blog")).reason == "gone"


async def test_deadline_in_processor_time_gives_no_verdict_and_keeps_the_process() -> None:
    async with pool(comparing=CATASTROPHIC) as differs:
        stuck, after = differs.later({"a": ENDLESS}, {"a": 1}), differs.later({"a": 1}, {"a": 2})
        assert (await stuck).reason == "deadline"
        (pid,) = differs.differs.pids
        assert fields(await after) == ("", ["$.a"])
        assert differs.differs.pids == [pid]
        assert (differs.differs.kills, differs.differs.crashes) == (0, 0)


async def test_differ_that_says_nothing_for_too_long_is_killed_and_only_the_job_it_had_begun_is_lost() -> None:
    async with pool() as differs:
        await differs.compare(1, 2)
        (pid,) = differs.differs.pids
        os.kill(pid, signal.SIGSTOP)
        begun, behind = differs.later({"a": 1}, {"a": 2}), differs.later({"b": 1}, {"b": 2})
        differs.clock.now += WALL_SECONDS + 0.1
        assert (await begun).reason == "deadline"
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        differs.clock.now += 1.0  # the pause before the next one
        assert fields(await behind) == ("", ["$.b"])
        assert differs.differs.pids != [pid]
        assert (differs.differs.kills, differs.differs.crashes) == (1, 0)


async def test_differ_that_spends_too_much_processor_time_on_a_job_is_killed() -> None:
    async with pool() as differs:
        await differs.compare(1, 2)
        (pid,) = differs.differs.pids
        os.kill(pid, signal.SIGSTOP)
        begun = differs.later({"a": 1}, {"a": 2})
        differs.cpu += 0.26
        assert (await begun).reason == "deadline"
        assert (differs.differs.kills, differs.differs.crashes) == (1, 0)


def test_processor_time_of_a_process_is_read_from_outside() -> None:
    before = time.process_time()
    assert before <= cpu_of(os.getpid()) <= time.process_time()


async def test_differ_that_dies_loses_the_job_it_had_begun_and_is_started_again() -> None:
    async with pool() as differs:
        await differs.compare(1, 2)
        (pid,) = differs.differs.pids
        os.kill(pid, signal.SIGSTOP)
        begun, behind = differs.later({"a": 1}, {"a": 2}), differs.later({"b": 1}, {"b": 2})
        os.kill(pid, signal.SIGKILL)
        assert (await begun).reason == "crashed"
        differs.clock.now += 1.0
        assert fields(await behind) == ("", ["$.b"])
        assert (differs.differs.kills, differs.differs.crashes) == (0, 1)


async def test_differ_that_keeps_dying_is_started_after_a_longer_pause_each_time() -> None:
    async with pool() as differs:
        for pause in (0.1, 0.2, 0.4):
            await differs.compare(1, 2)
            await differs.crash()
            differs.clock.now += pause - 0.01
            early = differs.later(1, 2)
            assert differs.differs.pids == []
            differs.clock.now += 0.02
            assert fields(await early) == ("", ["$"])


async def test_differ_that_lived_long_is_started_at_once() -> None:
    async with pool() as differs:
        for _ in range(2):
            await differs.compare(1, 2)
            differs.clock.now += 10.1
            await differs.crash()
        assert fields(await differs.compare(1, 2)) == ("", ["$"])


async def test_full_queue_refuses_by_count() -> None:
    async with pool() as differs:
        await differs.compare(1, 2)
        os.kill(differs.differs.pids[0], signal.SIGSTOP)
        accepted = differs.submit_until_refused({"n": 1})
        assert len(accepted) == MOST_JOBS + AHEAD
        os.kill(differs.differs.pids[0], signal.SIGCONT)
        assert {fields(compared)[0] for compared in await asyncio.gather(*accepted)} == {""}
        assert differs.differs.waiting == 0


async def test_full_queue_refuses_by_bytes() -> None:
    async with pool() as differs:
        await differs.compare(1, 2)
        os.kill(differs.differs.pids[0], signal.SIGSTOP)
        megabyte = b"[" + b" " * 1024 * 1024 + b"]"
        accepted = differs.submit_until_refused(megabyte)
        assert len(accepted) == MOST_BYTES // len(megabyte) + AHEAD


async def test_processor_time_is_capped_and_the_pair_beyond_it_refused() -> None:
    async with pool(share=1e-9) as differs:
        await differs.compare(1, 2)
        assert not differs.submit(1, 2, lambda compared: None)
        differs.clock.now += 1e6
        assert fields(await differs.compare(1, 2)) == ("", ["$"])


def test_bucket_fills_at_its_share_up_to_a_second_of_it() -> None:
    bucket = CpuBucket(0.25, now=0.0)
    bucket.spend(0.35)
    assert bucket.wait(0.0) == pytest.approx(0.4, abs=0.01)
    assert bucket.wait(0.3) > 0
    assert bucket.wait(0.5) == 0
    bucket.wait(100.0)
    bucket.spend(0.25)
    assert bucket.wait(100.0) > 0


async def test_callback_that_raises_is_told_and_harms_no_other() -> None:
    async with pool() as differs:
        told = ValueError("of the caller")

        def raises(compared: Compared) -> None:
            raise told

        assert differs.submit(1, 2, raises)
        assert fields(await differs.compare(1, 2)) == ("", ["$"])
        assert differs.errors == [told]
        differs.errors.clear()


async def test_rules_that_can_not_be_compiled_give_no_verdict_and_are_told() -> None:
    async with pool(comparing=Comparing(mask=("(",))) as differs:
        assert (await differs.compare(1, 2)).reason == "failed"
        assert "unterminated subpattern" in str(differs.errors[0])
        differs.errors.clear()
        differs.differs.adopt({"shop": (Comparing(), Redacting())})
        assert fields(await differs.compare(1, 2)) == ("", ["$"])


async def test_closed_differs_are_gone_and_refuse() -> None:
    async with pool(count=2) as differs:
        await asyncio.gather(*(differs.later(1, 2) for _ in range(4)))
        pids = differs.differs.pids
        differs.differs.close()
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        assert not differs.submit(1, 2, lambda compared: None)


def test_differ_ends_when_its_parent_is_gone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-P", "-m", "shadow.differ", "--fd", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        assert ours.recv(1)
        ours.close()
        assert process.wait() == 0


@given(st.lists(st.integers(1, 2000)), st.integers(1, 64))
def test_frames_are_the_same_however_the_bytes_are_split(sizes: list[int], step: int) -> None:
    sent = [Job(number, "shop", ((200, [], bytes(size), 0.1, ""),)) for number, size in enumerate(sizes)]
    stream = b"".join(framed(job) for job in sent)
    frames = Frames()
    received = [frame for at in range(0, len(stream), step) for frame in frames.feed(stream[at : at + step])]
    assert received == sent
