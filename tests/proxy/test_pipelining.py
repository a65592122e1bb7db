"""Requests that come faster than they are answered."""

from __future__ import annotations

from tests.proxy.fakes import GET, OK, Scene, request


def test_requests_of_one_read_beyond_the_bound_are_answered_in_order() -> None:
    names = [b"%d" % at for at in range(500)]
    body = b"4000\r\n" + b"b" * 16384 + b"\r\n0\r\n\r\n"
    last = request(b"Transfer-Encoding: chunked", method=b"PUT", body=body)
    client, origin = Scene(limits={"requests_per_connection": 0}).ask(
        b"".join(request(target=b"/" + name) for name in names) + last + GET
    )
    for name in names:
        assert origin.head().start == f"GET /{name.decode()} HTTP/1.1"
        origin.send(OK)
    assert origin.received().count(b"b") >= 0x4000
    origin.send(OK).send(OK)
    assert client.received().count(b"HTTP/1.1 200 ") == len(names) + 2
