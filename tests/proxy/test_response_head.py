"""The head of a response as the client gets it."""

from __future__ import annotations

import re

import pytest

from tests.proxy.fakes import GET, OK, Scene, request
from tests.support.wire import Head, parse_head

DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")


def answered(response: bytes, raw: bytes = GET) -> Head:
    """Without the Date that it gets: what is left is the upstream's."""
    head = parse_head(Scene().answered(response, raw).partition(b"\r\n\r\n")[0])
    assert DATE.fullmatch(head.get("Date") or "")
    return Head(head.start, [field for field in head.fields if field[0] != "Date"])


@pytest.mark.parametrize("line", [b"Date: then", b"date: then", b"DATE:then"])
def test_date_of_the_upstream_stands(line: bytes) -> None:
    """Whatever it says."""
    out = Scene().answered(b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok")
    assert parse_head(out.partition(b"\r\n\r\n")[0]).all("Date") == ["then"]


def test_response_without_a_date_gets_one_and_an_interim_one_does_not() -> None:
    """RFC 9110 section 6.6.1."""
    interim, final, _ = Scene().answered(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK).split(b"\r\n\r\n")
    assert parse_head(interim).all("Date") == []
    assert len(parse_head(final).all("Date")) == 1


def test_interim_response_loses_what_its_connection_field_lists() -> None:
    interim = (
        b"HTTP/1.1 103 Early Hints\r\nConnection: X-Mine\r\nx-mine: a\r\nKeep-Alive: timeout=5\r\nLink: </a>\r\n\r\n"
    )
    head, _, _ = Scene().answered(interim + OK).partition(b"\r\n\r\n")
    assert parse_head(head).fields == [("Link", "</a>")]


def test_fields_keep_their_case_their_order_and_their_number() -> None:
    lines = b"sERVER: x\r\nSet-Cookie: a=b\r\nX-a: 1\r\nset-cookie: c=d\r\nx-A: 2\r\n"
    head = answered(b"HTTP/1.1 200 Fine\r\n" + lines + b"Content-Length: 0\r\n\r\n")
    assert head.start == "HTTP/1.1 200 Fine"
    assert head.fields == [
        *(("sERVER", "x"), ("Set-Cookie", "a=b"), ("X-a", "1"), ("set-cookie", "c=d"), ("x-A", "2")),
        ("Content-Length", "0"),
    ]


def test_hop_by_hop_fields_and_those_that_connection_lists_end_here() -> None:
    head = answered(
        b"HTTP/1.1 200 OK\r\nConnection: X-Mine, keep-alive\r\nconnection: x-other\r\nx-MINE: a\r\nX-Other: b\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Headgate-Error: forged\r\n"
        b"X-Stays: c\r\nContent-Length: 0\r\n\r\n"
    )
    assert head.fields == [("X-Stays", "c"), ("Content-Length", "0")]


def test_framing_that_connection_lists_is_kept() -> None:
    head = answered(b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok")
    assert head.fields == [("Content-Length", "2")]


@pytest.mark.parametrize(
    ("response", "method", "framing"),
    [
        (b"200 OK\r\nContent-Length: 2\r\n\r\nok", b"GET", [("Content-Length", "2")]),
        (b"200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"GET", None),
        (b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET", [("Transfer-Encoding", "chunked")]),
        (b"200 OK\r\n\r\nok", b"GET", [("Transfer-Encoding", "chunked")]),
        (b"200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", [("Content-Length", "5")]),
        (b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HEAD", []),
        (b"204 No Content\r\nContent-Length: 5\r\n\r\n", b"GET", []),
        (b"304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"GET", [("Content-Length", "5")]),
    ],
)
def test_framing_is_one_field_or_none(response: bytes, method: bytes, framing: list[tuple[str, str]] | None) -> None:
    head = answered(b"HTTP/1.1 " + response, request(method=method))
    if framing is None:
        assert head.start == "HTTP/1.1 502 Bad Gateway"
    else:
        assert head.fields == framing


@pytest.mark.parametrize(
    ("raw", "connection"),
    [
        (GET, []),
        (request(b"Connection: close"), ["close"]),
        (request(b"Connection: x, CLOSE"), ["close"]),
        (request(version=b"1.0"), ["close"]),
        (request(b"Connection: keep-alive", version=b"1.0"), ["keep-alive"]),
    ],
)
def test_connection_says_what_becomes_of_it(raw: bytes, connection: list[str]) -> None:
    scene = Scene()
    client, origin = scene.ask(raw)
    origin.send(OK)
    assert client.closed is (connection == ["close"])
    assert client.head().all("Connection") == connection


def test_lines_of_the_listener_and_the_name_of_the_upstream_are_added() -> None:
    scene = Scene(route={"expose_upstream": True})
    client, origin = scene.ask(extra=b"Strict-Transport-Security: max-age=5\r\n")
    origin.send(OK)
    head = client.head()
    assert head.get("Strict-Transport-Security") == "max-age=5"
    assert head.get("X-Headgate-Upstream") == "blue"


def test_trailer_field_is_told_to_clients_that_get_trailers() -> None:
    response = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert answered(response).get("Trailer") == "X-Sum"
    assert answered(response, request(version=b"1.0")).get("Trailer") is None


STICKY = {"weights": {"blue": 1, "canary": 1}, "sticky": {"cookie": "hg", "max_age": "1h"}}


def test_sticky_cookie_is_set_only_for_a_client_that_has_none() -> None:
    scene = Scene(route=STICKY)
    client, origin = scene.ask()
    origin.send(OK)
    [cookie] = client.head().all("Set-Cookie")
    assert cookie.startswith("hg=")
    assert cookie.endswith("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax")
    value = cookie.partition(";")[0].encode()
    client, origin = scene.ask(request(b"Cookie: " + value))
    scene.origin.send(OK)
    assert client.head().all("Set-Cookie") == []
    assert origin.url == scene.origins[0].url


def test_sticky_cookie_is_set_over_tls_with_secure() -> None:
    client, origin = Scene(route=STICKY).ask(tls=True)
    origin.send(OK)
    assert (client.head().get("Set-Cookie") or "").endswith("; Secure")


def test_forged_sticky_cookie_is_replaced() -> None:
    client, origin = Scene(route=STICKY).ask(request(b"Cookie: hg=AAAAAAAAAAAAAAAAAAAAAAAA"))
    origin.send(OK)
    assert len(client.head().all("Set-Cookie")) == 1
