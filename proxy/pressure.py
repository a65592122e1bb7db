"""How short of memory a worker is, and what it does without then.

Levels as in Envoy's overload manager: first the copies go, then kept connections, then new requests; what has begun is ended.
Better to refuse in words than to be killed with everything under way. What counts is the memory that the kernel would kill for,
resident pages. A level is left only once use has fallen LEEWAY below where it begins, or one would come and go with every
answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from functools import cache
from pathlib import Path

from routing.snapshot import AUTO

CALM, NO_COPIES, NO_KEEPING, NO_REQUESTS = range(4)
NAMES = ("none", "no_copies", "no_keep_alive", "no_requests")
_BEGINS = (0.85, 0.92, 0.95)
LEEWAY = 0.05
# Of the machine's or the container's memory: the rest is for the other processes, and for the kernel's socket buffers.
AUTO_SHARE = 0.75
_PAGE = os.sysconf("SC_PAGE_SIZE")


def level_of(used: int, budget: int, before: int) -> int:
    """The level at that use; `before` is the level so far. No budget is no pressure."""
    if budget <= 0:
        return CALM
    share = used / budget
    level = sum(share >= begins for begins in _BEGINS)
    kept = sum(share >= begins - LEEWAY for begins in _BEGINS)
    return max(level, min(before, kept))


def resident() -> int:
    """Bytes of memory that this process has in use."""
    return int(os.pread(_statm(), 256, 0).split()[1]) * _PAGE


@cache
def _statm() -> int:
    """Opened once: a worker may have no descriptor left when it matters."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def trim() -> None:
    """Give back what is free: the C library keeps pages for later, and what it keeps would look like use for ever."""
    if _libc is not None:
        _libc.malloc_trim(0)


class Pressure:
    """One worker's. Its share of the budget is the same as any other's."""

    __slots__ = ("budget", "level", "used")

    def __init__(self) -> None:
        self.level = CALM
        self.used = self.budget = 0

    def __str__(self) -> str:
        return f"{self.used >> 20} of {self.budget >> 20} MiB in use"

    def look(self, limit: int, workers: int) -> int:
        """The level now; `limit` is the gateway's `limits.memory`. To be called about once a second."""
        self.budget = (auto_budget() if limit == AUTO else limit) // workers
        used = resident()
        level = level_of(used, self.budget, self.level)
        if level > CALM:
            trim()
            used = resident()
            level = level_of(used, self.budget, self.level)
        self.level, self.used = level, used >> 20 << 20  # whole MiB: news of less would be reported all the time
        return level


def _glibc() -> ctypes.CDLL | None:
    own = ctypes.CDLL(None)
    return own if hasattr(own, "malloc_trim") else None


_libc = _glibc()


@cache
def auto_budget(root: Path = Path("/")) -> int:
    """AUTO_SHARE of what the machine has, or of what the control group may have if that is less; 0 where neither is known."""
    found = [size for size in (_machine(root), *_groups(root)) if size > 0]
    return int(min(found) * AUTO_SHARE) if found else 0


def _machine(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _groups(root: Path) -> list[int]:
    """The bounds of our control group and of those above it; in a container its own is the topmost to be seen."""
    mount = root / "sys/fs/cgroup"
    try:
        own = next(
            line[3:].strip("/")
            for line in (root / "proc/self/cgroup").read_text().splitlines()
            if line.startswith("0::")
        )
    except (OSError, StopIteration):
        own = ""
    folder = mount / own
    found = []
    for group in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):  # "max", or a group that is not to be seen
            found.append(int((group / "memory.max").read_text()))
        if group == mount:
            break
    return found
