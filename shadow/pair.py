"""One copied request and the answers to it, as they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadow.answer import Answer

if TYPE_CHECKING:
    from shadow.call import Call
    from shadow.intake import Link
    from shadow.route import ShadowRoute


class Pair:
    """`head` and `body` are the request as the primary got it, `host` its Host as the client sent it. `waiting` counts the calls
    that have not ended; `gone` is why there is nothing to compare with."""

    __slots__ = (
        "arrived",
        "body",
        "compared",
        "control",
        "gone",
        "head",
        "host",
        "link",
        "method",
        "number",
        "primary",
        "route",
        "shadow",
        "size",
        "target",
        "third",
        "waiting",
    )

    def __init__(
        self, link: Link, number: int, route: ShadowRoute, compared: bool, host: bytes, head: bytes, body: bytes
    ) -> None:
        self.link = link
        self.number = number
        self.route = route
        self.compared = compared
        self.host = host
        self.head = head
        self.body = body
        method, _, rest = head.partition(b" ")
        self.method = method
        self.target = rest[: rest.index(b" ")]
        self.size = len(head) + len(body)
        self.arrived = 0.0
        self.waiting = 0
        self.primary: Answer | None = None
        self.gone = ""
        self.shadow: Call | None = None
        self.control: Call | None = None
        self.third: Answer | None = None

    @property
    def settled(self) -> bool:
        """Whether all that it waits for is there. Where the shadow's answer will not come, nothing waits for the primary's,
        which may be a stream without end."""
        if self.waiting:
            return False
        if self.primary is not None or self.gone or not self.compared:
            return True
        return self.shadow is not None and self.shadow.answer is None

    def counted(self) -> None:
        """What became of it is among what is found."""
        self.route.uncounted -= 1
        self.link.counted(self.route.name)

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]
