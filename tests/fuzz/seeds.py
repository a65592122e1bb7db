"""The fuzzer's target, and the seeds that it starts from: our own, one file each.

The first byte of an input says what the rest is: requests (`q`), a response (`r`), the same to HEAD (`h`), the chunked body of a
request (`b`) or of a response (`c`).
"""

from __future__ import annotations

from pathlib import Path

from proxy.response_head import response_table
from proxy.response_parser import ResponseParser
from tests.fuzz.second import check_requests, check_response, ours
from tests.proxy.fakes import request
from tests.proxy.streams import request_parser

CORPUS = Path(__file__).parent / "corpus"
BREAK = b"\xfe\xfd"
"""In an input: here one read ends and the next begins."""
_POST = request(b"Transfer-Encoding: chunked", method=b"POST")
_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def check(data: bytes) -> None:
    """Raises where our parsers raise, disagree with h11 about what goes on, or read bytes by how they are cut."""
    kind, rest = data[:1], data[1:]
    parts = rest.split(BREAK)
    raw = b"".join(parts)
    if kind in (b"r", b"h", b"c"):
        if kind == b"c":
            raw, parts = _ANSWER + raw, [_ANSWER, *parts]
        check_response(raw, to_head=kind == b"h")
        assert _response(parts, kind == b"h") == _response([raw], kind == b"h")
    else:
        if kind == b"b":
            raw, parts = _POST + raw, [_POST, *parts]
        check_requests(raw)
        assert _requests(parts) == _requests([raw])


def _requests(parts: list[bytes]) -> list[object]:
    parser = request_parser()
    for part in parts:
        if part:
            parser.feed(part)
    requests = []
    while parser.requests:
        requests.append(parser.take())
    return [
        (one.method, one.target, one.version, ours(one), b"".join(one.body), one.trailers)
        for one in requests
        if one.complete
    ]


def _response(parts: list[bytes], to_head: bool) -> tuple[object, ...]:
    response = ResponseParser(response_table(), 64 * 1024, 256)
    response.begin(to_head)
    for part in parts:
        if part:
            response.feed(part)
    response.end()
    if response.error or not response.complete:
        return (True,)
    return (
        response.status,
        response.reason,
        response.lines,
        response.noted,
        b"".join(response.body),
        response.trailers,
    )
