"""What a differ process does with one job, within its bounds: here in this process, or in one of its own where it is bounded."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from routing.shadowing import Comparing, Redacting
from shadow.differ import Differ
from shadow.jobs import Adopt, Job, plain
from tests.shadow.samples import answer

SHORT_OF_MEMORY = """
import resource
from pathlib import Path
from routing.shadowing import Comparing, Redacting
from shadow.differ import Differ
from shadow.jobs import Adopt, Job

body = b"[" + b"[]," * 1_000_000 + b"1]"
job = Job(1, "shop", ((200, [], body, 0.1, ""), (200, [], body[:-1] + b",2]", 0.1, "")))
differ = Differ(deadline=60)
differ.adopt(Adopt("shop", Comparing(), Redacting()))
most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + 16 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (most, most))
done = differ.done(job)
print(done.compared.reason)
"""


@pytest.fixture
def differ() -> Iterator[Differ]:
    before = signal.getsignal(signal.SIGPROF)
    yield Differ(deadline=0.05)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0), "the timer runs on after the job"
    signal.signal(signal.SIGPROF, before)


def job(primary: object, shadow: object) -> Job:
    return Job(7, "shop", (plain(answer(primary)), plain(answer(shadow))))


def test_job_is_answered_with_its_number_and_its_cost(differ: Differ) -> None:
    differ.adopt(Adopt("shop", Comparing(), Redacting()))
    done = differ.done(job({"a": 1}, {"a": 2}))
    assert (done.number, done.error) == (7, "")
    assert [difference.field for difference in done.compared.shadow] == ["$.a"]
    assert done.cpu > 0


def test_deadline_ends_a_job_and_not_the_next(differ: Differ) -> None:
    differ.adopt(Adopt("shop", Comparing(mask=(r"(?:a|a)*b",)), Redacting()))
    assert differ.done(job("a" * 60, 1)).compared.reason == "deadline"
    assert differ.done(job(1, 2)).compared.reason == ""


def test_what_comparing_raises_is_no_verdict_and_told(differ: Differ) -> None:
    done = differ.done(job(1, 2))
    assert done.compared.reason == "failed"
    assert "KeyError: 'shop'" in done.error


def test_job_that_needs_too_much_memory_gives_no_verdict() -> None:
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, check=False)
    assert done.stdout == "too_large\n", done.stderr
