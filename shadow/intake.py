"""Copies as they come from one worker, and the credits that go back to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from proxy.capture_frames import (
    ANSWER,
    ANSWER_HEAD,
    DROPS,
    GONE,
    GONE_FRAME,
    KIND_AT,
    REQUEST,
    REQUEST_HEAD,
    Frames,
    credit_frame,
)
from shadow.answer import Answer
from shadow.pair import Pair

if TYPE_CHECKING:
    from shadow.mirror import Mirror

_REQUEST = REQUEST_HEAD.size
_ANSWER = ANSWER_HEAD.size


class Link:
    """An asyncio.Protocol: one worker's connection. It may begin a capture for each credit that it was given; what is through
    is told back."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self.pairs: dict[int, Pair] = {}
        self._given: dict[str, int] = {}
        """route -> credits out: unused at the worker, or captures under way."""
        self._counted: dict[str, int] = {}
        self._reported: dict[str, int] = {}
        self._through: dict[str, int] = {}
        """route -> captures that are among what is found; that the last report tells of; that the worker is to be told of."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._mirror.joined(self)

    def data_received(self, data: bytes) -> None:
        mirror = self._mirror
        for frame in self._frames.feed(data):
            kind = frame[KIND_AT]
            if kind == REQUEST:
                _, _, number, compared, route_size, host_size, head_size = REQUEST_HEAD.unpack_from(frame)
                host_at = _REQUEST + route_size
                head_at = host_at + host_size
                body_at = head_at + head_size
                route = frame[_REQUEST:host_at].decode()
                mirror.request(
                    self, number, bool(compared), route, frame[host_at:head_at], frame[head_at:body_at], frame[body_at:]
                )
            elif kind == ANSWER:
                _, _, number, status, seconds, head_size = ANSWER_HEAD.unpack_from(frame)
                body_at = _ANSWER + head_size
                pair = self.pairs.get(number)
                if pair is not None:
                    lines = frame[_ANSWER:body_at].split(b"\r\n") if head_size else []
                    mirror.answered(pair, Answer(status, lines, frame[body_at:], seconds))
            elif kind == GONE:
                _, _, number, reason = GONE_FRAME.unpack_from(frame)
                pair = self.pairs.get(number)
                if pair is not None:
                    mirror.gone(pair, DROPS[reason].value)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._mirror.left(self)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """A worker that does not read: what it is told are few bytes, and it will be ended by the supervisor."""

    def resume_writing(self) -> None:
        pass

    def ended(self, route: str) -> None:
        """A capture holds nothing any more, and its credit is used up."""
        self._given[route] = self._given.get(route, 0) - 1

    def counted(self, route: str) -> None:
        """What became of a capture is among what is found."""
        self._counted[route] = self._counted.get(route, 0) + 1

    def reporting(self) -> None:
        """A report is made of what is found."""
        _add(self._reported, self._counted)

    def reported(self) -> Iterable[str]:
        """That report is out. Returns the routes of which the worker is to be told."""
        _add(self._through, self._reported)
        return self._through

    def give(self, route: str, wanted: int, backed_off: bool) -> None:
        """Bring the credits out to `wanted`, which takes some back where it became less, and tell what is through: whatever
        becomes of us, the worker need not count it."""
        more = wanted - self._given.get(route, 0)
        through = self._through.pop(route, 0)
        if (more or through) and self._transport is not None:
            self._given[route] = wanted
            self._transport.write(credit_frame(route.encode(), more, through, backed_off))


def _add(sums: dict[str, int], more: dict[str, int]) -> None:
    """Leaves `more` empty."""
    for route, count in more.items():
        sums[route] = sums.get(route, 0) + count
    more.clear()
