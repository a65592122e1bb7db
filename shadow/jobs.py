"""What passes between the shadow process and its differ processes: frames of a 4-byte length and a pickle, over a socket
that both inherited, so nobody else can write to it."""

from __future__ import annotations

import pickle
from typing import NamedTuple

from routing.pickling import dumps
from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.verdict import Compared

LENGTH = 4


class Adopt(NamedTuple):
    """To a differ, before the first job of a route and whenever its rules have changed."""

    route: str
    comparing: Comparing
    redacting: Redacting


class Job(NamedTuple):
    """To a differ: two or three answers, as `plain` gives them."""

    number: int
    route: str
    answers: tuple[tuple[int, list[bytes], bytes, float, str], ...]


class Ready(NamedTuple):
    """From a differ, once it has imported all that it needs."""


class Done(NamedTuple):
    """From a differ. `cpu` is the processor time that it took, in seconds; `error` is set where comparing raised."""

    number: int
    compared: Compared
    cpu: float
    error: str = ""


Frame = Adopt | Job | Ready | Done


def plain(answer: Answer) -> tuple[int, list[bytes], bytes, float, str]:
    return answer.status, answer.lines, answer.body, answer.seconds, answer.failure


def framed(frame: Frame) -> bytes:
    # Rules may be instances of compiled classes, which pickle alone can't fill in; answers are plain, and many.
    payload = dumps(frame) if isinstance(frame, Adopt) else pickle.dumps(frame, pickle.HIGHEST_PROTOCOL)
    return len(payload).to_bytes(LENGTH, "big") + payload


class Frames:
    """Bytes in, frames out, however the bytes are split."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= LENGTH:
            end = start + LENGTH + int.from_bytes(buffer[start : start + LENGTH], "big")
            if len(buffer) < end:
                break
            frames.append(pickle.loads(memoryview(buffer)[start + LENGTH : end]))  # noqa: S301 - our own processes
            start = end
        del buffer[:start]
        return frames
