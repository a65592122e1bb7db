"""The heads of copies: what the primary got, less what must not reach a shadow. Pure.

A copy keeps every line, its order and its spelling, except: Host is as the client sent it (unless the shadow's upstream is
configured with another), hop-by-hop fields and Expect are gone, so are the fields that the route removes (credentials, by
default), Idempotency-Key has a name space of its own, and X-Headgate-Shadow says what it is.
"""

from __future__ import annotations

from routing.shadowing import Shadowing

MARK = b"X-Headgate-Shadow: 1"
_HOP_BY_HOP = frozenset({b"connection", b"te", b"expect", b"upgrade", b"x-headgate-shadow"})
_OURS = b"shadow-"


class CopyHeads:
    """Makes the heads of one route's copies."""

    __slots__ = ("_removed", "_set")

    def __init__(self, shadowing: Shadowing) -> None:
        names = frozenset([name.lower() for name, _ in shadowing.set_headers])
        self._removed = _HOP_BY_HOP | shadowing.remove_headers | names
        self._set = [b": ".join(line) for line in shadowing.set_headers]

    def copy(self, head: bytes, host: bytes) -> bytes:
        """`head` as the primary got it: a request line, Host, the other fields, an empty line. Ends with an empty line."""
        removed = self._removed
        lines = head[:-4].split(b"\r\n")
        kept = [lines[0], b"Host: " + host]
        for line in lines[2:]:
            name = line[: line.index(b":")].lower()
            if name == b"idempotency-key":
                kept.append(line[:16] + b" " + _OURS + line[16:].lstrip())
            elif name not in removed:
                kept.append(line)
        kept += self._set
        kept.append(MARK)
        kept.append(b"\r\n")
        return b"\r\n".join(kept)


def framed(head: bytes, body: bytes, chunked: bool) -> bytes:
    """Head and body as they go out; a body that came in chunks goes as one."""
    if chunked:
        return b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body) if body else head + b"0\r\n\r\n"
    return head + body if body else head


def is_chunked(head: bytes) -> bool:
    return b"\r\nTransfer-Encoding: chunked\r\n" in head
