"""What the sample shop of the shadow bench answers: pieces of JSON made beforehand, noise of every kind between them, and on
demand a defect in one answer of a hundred.

An answer says in `X-Digest` which request it belongs to and what was sent, so that a client can tell whether it got just that.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from zlib import crc32

SHARE = 0.01
NUMBER = b"X-Number: "
"""The request's field that an answer's digest goes with."""


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with an order, in which field it shows, and within how many pairs it is to be found."""

    name: str
    field: str
    within: int


DEFECTS = (
    Defect("value changed", "$.price", 2_000),
    Defect("field missing", "$.currency", 2_000),
    Defect("status changed", "status", 2_000),
    Defect("answer broken off", "status", 2_000),
    Defect("id null", "$.id", 5_000),
    Defect("number out of range", "$.score", 5_000),
)
DEFECTIVE = "/shop/orders/{id}"
"""The endpoint whose answers have the defect."""

_TAGS = [b'"new"', b'"sale"', b'"blue"', b'"large"', b'"cotton"']
_NOISE = (
    b'{"id":%b,"at":"%b.%03dZ","epoch":%d,"tags":[%b],"score":%.6f,"served":%d,"promoted":%b,'
    b'"path":"%b","price":%d,%b"items":[%b],"note":"%b"}'
)
_ITEMS = b",".join(b'{"sku":"SKU-%04d","count":%d,"unit":"piece"}' % (1042 + n, 1 + n) for n in range(6))
_NOTE = b"as ordered; " * 20
_STATUS_LINES = {200: b"HTTP/1.1 200 OK", 500: b"HTTP/1.1 500 Internal Server Error"}


class Shop:
    """Answers of one server. `defect` is the name of what it does wrong to orders, empty for nothing."""

    def __init__(self, name: str, seed: int) -> None:
        self._name = name.encode()
        self.begin(seed)

    def begin(self, seed: int, defect: str = "") -> None:
        self._draw = random.Random(seed)
        self.defect = defect
        self.served = 0
        self.wrong = 0

    def answer(self, path: bytes, number: bytes, now: float) -> bytes:
        """Empty for one that is to break off. `now` is Unix time."""
        self.served += 1
        defect = ""
        if self.defect and path.startswith(b"/shop/orders/") and self._draw.random() < SHARE:
            defect = self.defect
            self.wrong += 1
        if defect == "answer broken off":
            return b""
        if defect == "status changed":
            return response(500, b'{"error":"no connection to the database"}', number, self._name)
        return response(200, self._document(path, now, defect), number, self._name)

    def _document(self, path: bytes, now: float, defect: str) -> bytes:
        draw = self._draw
        identity = b"%032x" % draw.getrandbits(128)
        uuid = b'"%b-%b-4%b-a%b-%b"' % (identity[:8], identity[8:12], identity[13:16], identity[17:20], identity[20:])
        draw.shuffle(_TAGS)
        return _NOISE % (
            b"null" if defect == "id null" else uuid,
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)).encode(),
            int(now * 1000) % 1000,
            int(now),
            b",".join(_TAGS),
            -250.0 if defect == "number out of range" else draw.random() * 100.0,
            self.served,
            b"true" if draw.random() < 0.05 else b"false",
            path,
            1998 if defect == "value changed" else 1999,
            b"" if defect == "field missing" else b'"currency":"EUR",',
            _ITEMS,
            _NOTE,
        )


def response(status: int, body: bytes, number: bytes, name: bytes) -> bytes:
    return (
        b"%b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nCache-Control: private, max-age=0\r\n"
        b"X-Served-By: %b\r\nX-Digest: %08x\r\n\r\n%b"
    ) % (_STATUS_LINES[status], len(body), name, digest(number, status, body), body)


def digest(number: bytes, status: int, body: bytes) -> int:
    return crc32(body, crc32(b"%b %d" % (number, status)))
