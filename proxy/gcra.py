"""Rate limits for all workers of a gateway together: GCRA over one table in shared memory.

GCRA (ITU-T I.371, the virtual scheduling algorithm) keeps one time of each key: when the next request would be due if all came
evenly. A request may come earlier than that by what the burst allows. In any window of t seconds, then, at most burst + rate * t
requests of a key pass.

Rules of this file. The table is a memory file that the supervisor makes and every worker maps, so a client may spread its
connections over workers or keep one: its limit is the same. Nobody locks and nobody waits. Two workers that count the same key
within the same microsecond may count one request for two; a time that makes no sense (torn, or of a limit since changed) is
taken for the latest that could. The table never grows: where a set is full, the key that is furthest from its limit goes,
so a flood of new keys can't make it forget those that are held back. Keys are hashed with a secret of the gateway's, so nobody
can choose whom to share a place with.
"""

from __future__ import annotations

from hashlib import blake2b
from mmap import mmap
from secrets import token_bytes

from routing.rate import RateLimit

SETS = 32 * 1024
WAYS = 4
SECRET_BYTES = 64
_SLOT_BYTES = 16
SIZE = SECRET_BYTES + SETS * WAYS * _SLOT_BYTES


class RateTable:
    """`fd` is what `shared.create` returned; without it the table is this process's own."""

    __slots__ = ("_memory", "_secret", "_tags", "_times", "forgotten")

    def __init__(self, fd: int = -1) -> None:
        self._memory = mmap(fd, SIZE)
        if fd < 0:
            self._memory[:SECRET_BYTES] = token_bytes(SECRET_BYTES)
        self._secret = bytes(self._memory[:SECRET_BYTES])
        slots = memoryview(self._memory)[SECRET_BYTES:]
        # A slot is two words: the key's digest (0: empty) and its time.
        self._tags = slots.cast("Q")
        self._times = slots.cast("d")
        self.forgotten = 0
        """Keys that had to go while they still counted, since the last look."""

    def ask(self, limit: RateLimit, key: bytes, now: float) -> float:
        """0 where the request may pass, which counts it; else the seconds until one may. `now` is of the system's monotonic
        clock, which all processes have in common."""
        digest = blake2b(key, digest_size=12, key=self._secret, person=limit.salt).digest()
        tag = int.from_bytes(digest[:8], "little") or 1
        first = int.from_bytes(digest[8:], "little") % SETS * WAYS * 2
        tags, times = self._tags, self._times
        slot, free, least = -1, first, float("inf")
        for at in range(first, first + WAYS * 2, 2):
            if tags[at] == tag:
                slot = at
                break
            if times[at + 1] < least:
                free, least = at, times[at + 1]
        interval = limit.interval
        tolerance = (limit.burst - 1) * interval
        due = now
        if slot >= 0:
            due = min(max(times[slot + 1], now), now + tolerance + interval)
        if due - tolerance > now:
            return due - tolerance - now
        if slot < 0:
            slot = free
            if least > now:
                self.forgotten += 1
            tags[slot] = tag
        times[slot + 1] = due + interval
        return 0.0
