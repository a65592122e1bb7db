"""What the workers of a gateway have in common without asking each other: one memory file, made by the supervisor.

    rates of clients (gcra.py) | requests by upstream (breaker.py) | connections by client (here)

Of the last two, each worker has a part of its own.

Connections of a client are counted in a count-min sketch (Cormode and Muthukrishnan, 2005): each address has a place in either
of two rows, and the lesser of the two counts is at most too high. A worker writes its own region only, so nothing is lost
between two of them, and a worker that takes the place of a dead one begins by clearing it. Places are chosen with a secret, so
nobody can choose whom to share one with.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from mmap import mmap

from proxy import breaker, gcra
from routing.rate import client_network

PLACES = 16 * 1024
_ROWS = 2
_REGION_BYTES = PLACES * _ROWS * 4


def create(workers: int) -> int:
    """A descriptor for so many workers; empty."""
    fd = os.memfd_create("headgate shared", os.MFD_CLOEXEC)
    os.ftruncate(fd, _size(workers))
    os.pwrite(fd, os.urandom(gcra.SECRET_BYTES), 0)
    return fd


def _size(workers: int) -> int:
    return gcra.SIZE + workers * (breaker.ROW_BYTES + _REGION_BYTES)


class ClientCounts:
    """Connections by client, of one worker among `workers`. `fd` is what `create` returned; without it the counts are this
    process's own."""

    __slots__ = ("_counts", "_memory", "_own", "_regions", "_secret")

    def __init__(self, fd: int = -1, worker: int = 0, workers: int = 1) -> None:
        self._memory = mmap(fd, _size(workers))
        if fd < 0:
            self._memory[: gcra.SECRET_BYTES] = os.urandom(gcra.SECRET_BYTES)
        self._secret = bytes(self._memory[: gcra.SECRET_BYTES])
        regions = gcra.SIZE + workers * breaker.ROW_BYTES
        first = regions + worker * _REGION_BYTES
        self._memory[first : first + _REGION_BYTES] = bytes(_REGION_BYTES)
        self._counts = memoryview(self._memory)[regions:].cast("I")
        self._regions = range(0, workers * PLACES * _ROWS, PLACES * _ROWS)
        self._own = worker * PLACES * _ROWS

    def enter(self, address: str, limit: int) -> int:
        """The client's place, for `leave`; -1 where it has `limit` connections already."""
        digest = blake2b(client_network(address), digest_size=8, key=self._secret, person=b"clients").digest()
        one = int.from_bytes(digest[:4], "little") % PLACES
        two = PLACES + int.from_bytes(digest[4:], "little") % PLACES
        counts = self._counts
        if min(sum(counts[at + one] for at in self._regions), sum(counts[at + two] for at in self._regions)) >= limit:
            return -1
        counts[self._own + one] += 1
        counts[self._own + two] += 1
        return one * 2 * PLACES + two

    def leave(self, place: int) -> None:
        one, two = divmod(place, 2 * PLACES)
        self._counts[self._own + one] -= 1
        self._counts[self._own + two] -= 1
