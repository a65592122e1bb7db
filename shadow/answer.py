"""One answer to a copied request: the primary's, the shadow's, or a third to tell noise by (the control's, or stable's again)."""

from __future__ import annotations

NO_ANSWER = 0


class Answer:
    """`lines` are the fields as they were sent, `Name: value`, without hop-by-hop ones and framing; `body` is as sent, so maybe
    compressed. `seconds` runs from the request's start to the answer's end. Where there is none, `status` is NO_ANSWER and
    `failure` says why: `reset` or `bad_response`."""

    __slots__ = ("body", "failure", "lines", "seconds", "status")

    def __init__(self, status: int, lines: list[bytes], body: bytes, seconds: float, failure: str = "") -> None:
        self.status = status
        self.lines = lines
        self.body = body
        self.seconds = seconds
        self.failure = failure

    def __repr__(self) -> str:
        return f"<Answer {self.status or self.failure} {len(self.body)} bytes>"
