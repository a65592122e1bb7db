"""Processes as the system sees them: children, titles, memory, and their end as an event."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.wire import PATIENCE


def title(pid: int) -> str:
    """What `ps` shows; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        pass
    return found


def descendants(pid: int) -> list[int]:
    return [own for child in children(pid) for own in (child, *descendants(child))]


def memory(pid: int) -> int:
    """Bytes of memory that it has in use now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_peak(pid: int) -> int:
    """The most bytes of memory that it ever had in use (VmHWM, the peak of VmRSS): no moment between two looks is missed."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no VmHWM")


@contextmanager
def watched(*pids: int) -> Iterator[list[int]]:
    """A descriptor for each process, readable once it has ended (pidfd_open(2)): no number that may be taken again."""
    descriptors = [os.pidfd_open(pid) for pid in pids]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def all_end(descriptors: list[int], patience: float = PATIENCE) -> bool:
    """Waits for the end of each."""
    return all(select.select([descriptor], [], [], patience)[0] for descriptor in descriptors)
