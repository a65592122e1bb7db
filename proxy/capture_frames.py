"""What passes between a worker and the shadow process, over a Unix socket of the state folder: copies one way, credits the other.

A frame is a little-endian length of what follows it, a kind and the capture's number, then what the kind has. Requests go out when
they are complete, answers when they have ended; a capture that was begun ends with exactly one of ANSWER and GONE. Nothing
here is a pickle: the copies hold what clients sent.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct

REQUEST, ANSWER, GONE, CREDIT = 1, 2, 3, 4
# length, kind, number
_PREFIX = Struct("<IBI")
# …, whether the primary's answer is to be compared, bytes of route, of host, of head
REQUEST_HEAD = Struct("<IBIBHII")
# …, status, seconds, bytes of head
ANSWER_HEAD = Struct("<IBIHdI")
# …, index of the reason in DROPS
GONE_FRAME = Struct("<IBIB")
# …, credits given (number is 0), captures that are through, whether the shadow is backed off from, bytes of route
CREDIT_HEAD = Struct("<IBIiIBH")
LENGTH = 4
KIND_AT = LENGTH
# Request and answer are bounded by `max_body`, whose sizes fit; more means that the stream is out of step.
MAX_FRAME = 1 << 31
SOCKET = "shadow.sock"


class Drop(Enum):
    """Why a request that was in the sample was not copied, or its copy not compared."""

    UNSAFE_METHOD = "unsafe_method"
    UPGRADE = "upgrade"
    SHADOWED = "shadowed"
    """It is a copy itself: the shadow's upstream leads back here."""
    BODY_TOO_LARGE = "body_too_large"
    QUEUE_FULL = "queue_full"
    BACKOFF = "backoff"
    """The shadow is slow or failing, so less is copied until it recovers."""
    SHADOW_DOWN = "shadow_down"
    """The shadow process is gone, or was while it had the copy."""
    NOT_STABLE = "not_stable"
    """Copied, but another upstream than stable answered the client: nothing to compare with."""
    NO_PRIMARY = "no_primary"
    """The primary gave no complete answer."""
    TIMEOUT = "timeout"
    CONNECT = "connect"
    NO_ENDPOINT = "no_endpoint"
    DIFFER_BUSY = "differ_busy"
    MEMORY = "memory"
    """The worker is short of it."""


DROPS: tuple[Drop, ...] = tuple(Drop)
DROP_INDEX: dict[Drop, int] = {drop: index for index, drop in enumerate(DROPS)}


def request_frame(number: int, compared: bool, route: bytes, host: bytes, head: bytes, body: list[bytes]) -> bytes:
    """`head` is the head as the primary got it, `host` the Host field as the client sent it; `body` without its framing."""
    size = REQUEST_HEAD.size - LENGTH + len(route) + len(host) + len(head) + sum(map(len, body))
    packed = REQUEST_HEAD.pack(size, REQUEST, number, compared, len(route), len(host), len(head))
    return b"".join([packed, route, host, head, *body])


def answer_frame(number: int, status: int, seconds: float, lines: list[bytes], body: list[bytes]) -> bytes:
    """`lines` are the answer's fields but hop-by-hop ones and framing."""
    head = b"\r\n".join(lines)
    size = ANSWER_HEAD.size - LENGTH + len(head) + sum(map(len, body))
    return b"".join([ANSWER_HEAD.pack(size, ANSWER, number, status, seconds, len(head)), head, *body])


def gone_frame(number: int, why: Drop) -> bytes:
    return GONE_FRAME.pack(GONE_FRAME.size - LENGTH, GONE, number, DROP_INDEX[why])


def credit_frame(route: bytes, credits: int, through: int, backed_off: bool) -> bytes:
    size = CREDIT_HEAD.size - LENGTH + len(route)
    return CREDIT_HEAD.pack(size, CREDIT, 0, credits, through, backed_off, len(route)) + route


class Frames:
    """Bytes in, whole frames out; any split of the bytes gives the same frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Raises ValueError for a frame above MAX_FRAME."""
        if self._buffer:
            data = self._buffer + data
        frames = []
        at, end = 0, len(data)
        while end - at >= LENGTH:
            size = int.from_bytes(data[at : at + LENGTH], "little")
            if size > MAX_FRAME:
                raise ValueError(f"a capture frame of {size} bytes")
            after = at + LENGTH + size
            if after > end:
                break
            frames.append(data[at:after])
            at = after
        self._buffer = data[at:]
        return frames
