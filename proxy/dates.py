"""The Date of now, made once a second."""

from __future__ import annotations

from email.utils import formatdate
from time import time


class Dates:
    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def line(self) -> bytes:
        """`Date: …`, without a line end."""
        second = int(time())
        if second != self._second:
            self._second = second
            self._line = b"Date: " + formatdate(second, usegmt=True).encode()
        return self._line


DATES = Dates()
