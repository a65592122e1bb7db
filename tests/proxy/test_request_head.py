"""The head of a request: what is refused, and how what is forwarded looks at the upstream."""

from __future__ import annotations

import random
import re

import h11
import pytest

from proxy import request_head
from tests.proxy.fakes import GET, OK, PEER, Scene, error_of, request, status

TRUSTED = "10.9.9.9"
UUID = re.compile(r"[0-9a-f]{32}\Z")
TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00\Z")
UPGRADE = (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")


@pytest.mark.parametrize(
    ("raw", "code", "error"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (request(b"Host: a", b"Host: a"), 400, "bad_request"),
        (request(b"Host: a", b"hOST: b"), 400, "bad_request"),
        (request(b"Host: a b"), 400, "bad_request"),
        (request(b"Host: a@b"), 400, "bad_request"),
        (request(b"Host: a/b"), 400, "bad_request"),
        (request(b"Host: a:b"), 400, "bad_request"),
        (request(b"Host: a, b:80, c"), 400, "bad_request"),
        (request(b"Host:"), 400, "bad_request"),
        (request(b"Host: [::1"), 400, "bad_request"),
        (request(target=b"http://a@b/"), 400, "bad_request"),
        (request(target=b"ftp://a/"), 400, "bad_request"),
        (request(target=b"*"), 400, "bad_request"),
        (request(target=b"a"), 400, "bad_request"),
        (request(target=b"/a#b"), 400, "bad_request"),
        (request(target=b"/\x80"), 400, "bad_request"),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (request(b"Host: a b", target=b"http://a/"), 400, "bad_request"),
        (request(b"Host:", target=b"http://a/"), 400, "bad_request"),
        (request(b"Connection: host"), 400, "bad_request"),
        (request(b"Connection: close, Content-Length"), 400, "bad_request"),
        (request(b"Connection: x", b"Connection: transfer-encoding"), 400, "bad_request"),
        (request(b"Transfer-Encoding: chunked", version=b"1.0", method=b"POST", body=b"0\r\n\r\n"), 400, "bad_request"),
        (request(b"Transfer-Encoding: gzip, chunked", method=b"POST", body=b"0\r\n\r\n"), 501, "not_implemented"),
        (request(*[b"Transfer-Encoding: chunked"] * 2, method=b"POST", body=b"0\r\n\r\n"), 400, "bad_request"),
        (request(method=b"CONNECT", target=b"a:80"), 405, "method_not_allowed"),
        (request(method=b"TRACE"), 405, "method_not_allowed"),
        (b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"GET /\r\n\r\n", 505, "version"),
        (request(version=b"2.0"), 505, "version"),
        (request(version=b"1.2"), 400, "bad_request"),
        (request(method=b"get"), 400, "bad_request"),
    ],
)
def test_request_that_may_not_be_forwarded_is_answered_and_the_connection_closed(
    raw: bytes, code: int, error: str
) -> None:
    scene = Scene()
    client = scene.client().send(raw + GET)
    answer = client.received()
    assert (status(answer), error_of(answer)) == (code, error)
    assert b"\r\nConnection: close\r\n" in answer
    assert client.closed
    assert not scene.dialled
    assert scene.at_rest


@pytest.mark.parametrize(
    ("raw", "start", "host"),
    [
        (
            request(b"Host: A.example:81", target=b"/a/../b//%2f?c=d&e"),
            "GET /a/../b//%2f?c=d&e HTTP/1.1",
            "A.example:81",
        ),
        (request(b"Host: a", target=b"http://B.example:82/x?y"), "GET /x?y HTTP/1.1", "B.example:82"),
        (request(b"Host: a", target=b"http://b"), "GET / HTTP/1.1", "b"),
        (request(b"Host: a", target=b"HTTP://b?x"), "GET /?x HTTP/1.1", "b"),
        (request(b"Host: a", target=b"*", method=b"OPTIONS"), "OPTIONS * HTTP/1.1", "a"),
        (request(b"Host: a", target=b"http://b", method=b"OPTIONS"), "OPTIONS * HTTP/1.1", "b"),
        (request(b"Host: [::1]:80"), "GET / HTTP/1.1", "[::1]:80"),
        (b"GET /x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1", "10.0.0.1:8001"),
        (b"GET http://b/x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1", "b"),
        (request(b"Host: a", method=b"PROPFIND"), "PROPFIND / HTTP/1.1", "a"),
    ],
)
def test_target_and_host_of_each_form_are_forwarded_in_origin_form(raw: bytes, start: str, host: str) -> None:
    head = Scene().forwarded(raw)
    assert (head.start, head.all("Host")) == (start, [host])


@pytest.mark.parametrize("name", [b"Shop.example.", b"shop.example.:81"])
def test_host_written_to_its_end_is_matched_as_the_same_name(name: bytes) -> None:
    """A route of that name would otherwise be passed by for one that takes any."""
    scene = Scene(route={"match": {"hosts": ["shop.example"]}})
    assert scene.forwarded(request(b"Host: " + name)).all("Host") == [name.decode()]


@pytest.mark.parametrize(
    ("policy", "host"), [("preserve", "a"), ("upstream", "10.0.0.1:8001"), ("shop.internal", "shop.internal")]
)
def test_host_is_what_the_upstream_wants(policy: str, host: str) -> None:
    scene = Scene(upstreams={"blue": {"endpoints": ["http://10.0.0.1:8001"], "host": policy}})
    head = scene.forwarded(request(b"Host: a"))
    assert (head.all("Host"), head.get("X-Forwarded-Host")) == ([host], "a")


def test_fields_keep_their_case_their_order_and_their_number() -> None:
    lines = [b"X-b: 1", b"cOOkie: a=b", b"Accept: x", b"x-B: 2", b"COOKIE: c=d", b"accept: y", b"X-b: 1"]
    head = Scene().forwarded(request(*lines))
    assert head.fields[1 : 1 + len(lines)] == [tuple(line.decode().split(": ")) for line in lines]
    assert head.names[0] == "Host"


def test_hop_by_hop_fields_and_those_that_connection_lists_end_here() -> None:
    head = Scene().forwarded(
        request(
            b"Connection: X-Mine, keep-alive, ,Accept",
            b"connection: x-other",
            b"x-MINE: a",
            b"X-Other: b",
            b"Accept: c",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authenticate: Basic",
            b"Proxy-Authorization: Basic eDp5",
            b"TE: gzip",
            b"Upgrade: h2c",
            b"HTTP2-Settings: x",
            b"X-Stays: d",
        )
    )
    assert set(head.names) == {
        *("Host", "HTTP2-Settings", "X-Stays", "X-Request-Id", "traceparent", "Via"),
        *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"),
    }


@pytest.mark.parametrize("name", [b"X-Request-Id", b"traceparent", b"Cookie"])
def test_field_that_the_next_hop_needs_is_kept_whatever_connection_lists(name: bytes) -> None:
    """A client could otherwise take out what the gateway adds or decides by."""
    head = Scene().forwarded(request(b"Connection: %b, Via, X-Forwarded-For, X-Forwarded-Proto" % name, name + b": a"))
    assert head.all(name.decode()) == ["a"]
    assert (head.get("X-Forwarded-For"), head.get("X-Forwarded-Proto"), head.get("Via")) == (
        PEER,
        "http",
        "1.1 headgate",
    )


def test_trailers_are_asked_for_where_the_client_asks_for_them() -> None:
    """RFC 9110 section 10.1.4: a TE field is announced in Connection."""
    head = Scene().forwarded(request(b"TE: trailers", b"Connection: TE"))
    assert (head.get("TE"), head.get("Connection")) == ("trailers", "TE")


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        (b"max-forwards: 7", ["6"]),
        (b"Max-Forwards: 1", ["0"]),
        (b"Max-Forwards: x", ["x"]),
        (b"Max-Forwards: 1" + b"0" * 18, ["1" + "0" * 18]),
    ],
)
def test_options_goes_on_with_one_hop_less(line: bytes, sent: list[str]) -> None:
    """RFC 9110 section 7.6.2."""
    assert Scene().forwarded(request(line, method=b"OPTIONS")).all("Max-Forwards") == sent
    assert Scene().forwarded(request(line)).get("Max-Forwards") == line.split(b": ")[1].decode()


@pytest.mark.parametrize("lines", [(b"Max-Forwards: 0",), (b"Connection: max-forwards", b"max-forwards: 00")])
def test_options_that_goes_no_further_is_answered_here(lines: tuple[bytes, ...]) -> None:
    scene = Scene()
    client = scene.client().send(request(*lines, method=b"OPTIONS", target=b"*"))
    head = client.head()
    assert (head.start, client.closed, scene.dialled) == ("HTTP/1.1 204 No Content", False, [])
    assert "OPTIONS" in (head.get("Allow") or "")
    assert scene.at_rest


def test_fields_of_the_gateway_are_added_for_a_client_nobody_vouches_for() -> None:
    head = Scene().forwarded(
        request(
            b"X-Forwarded-For: 1.1.1.1",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: evil",
            b"X-Forwarded-Port: 1",
            b"X-Real-IP: 1.1.1.1",
            b"Forwarded: for=1.1.1.1",
            b"X-Headgate-Flags: all",
            b"x-headgate-upstream: canary",
        )
    )
    assert head.all("X-Forwarded-For") == [PEER]
    assert head.all("X-Forwarded-Proto") == ["http"]
    assert head.all("X-Forwarded-Host") == ["shop.example"]
    assert head.all("Via") == ["1.1 headgate"]
    assert UUID.match(head.get("X-Request-Id") or "")
    assert TRACE.match(head.get("traceparent") or "")
    assert not {"forwarded", "x-forwarded-port", "x-real-ip"} & {name.lower() for name in head.names}
    assert not any(name.lower().startswith("x-headgate") for name in head.names)


@pytest.mark.parametrize("trusted", [False, True])
def test_name_that_an_upstream_may_take_for_one_of_the_gateways_is_removed(trusted: bool) -> None:
    """CGI and WSGI make HTTP_X_FORWARDED_FOR of both spellings."""
    scene = Scene(trusted_proxies=["10.9.0.0/16"])
    lines = (b"X_Forwarded_For: 1.1.1.1", b"x-forwarded_proto: https", b"X_Headgate_Flags: all", b"Content_Length: 3")
    head = scene.ask(request(*lines, b"X_Own: a"), peer=TRUSTED if trusted else PEER)[1].head()
    assert [name for name in head.names if "_" in name] == ["X_Own"]


def test_fields_of_a_trusted_proxy_are_continued() -> None:
    scene = Scene(trusted_proxies=["10.9.0.0/16"])
    raw = request(
        b"X-Forwarded-For: 1.1.1.1, 2.2.2.2",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: public.example",
        b"X-Forwarded-Port: 443",
        b"X-Real-IP: 1.1.1.1",
        b"Forwarded: for=1.1.1.1",
        b"Via: 1.1 front",
    )
    head = scene.ask(raw, peer=TRUSTED)[1].head()
    assert head.all("X-Forwarded-For") == ["1.1.1.1, 2.2.2.2, " + TRUSTED]
    assert head.all("X-Forwarded-Proto") == ["https"]
    assert head.all("X-Forwarded-Host") == ["public.example"]
    assert head.all("X-Forwarded-Port") == ["443"]
    assert head.all("Forwarded") == ["for=1.1.1.1"]
    assert head.all("X-Real-IP") == ["1.1.1.1"]
    assert head.all("Via") == ["1.1 front, 1.1 headgate"]


def test_trusted_proxy_that_says_nothing_is_told_on_as_the_client() -> None:
    scene = Scene(trusted_proxies=["10.9.0.0/16"])
    head = scene.ask(GET, peer=TRUSTED)[1].head()
    assert head.all("X-Forwarded-For") == [TRUSTED]
    assert head.all("X-Forwarded-Proto") == ["http"]
    assert head.all("X-Forwarded-Host") == ["shop.example"]


def test_client_over_tls_is_told_on_as_https() -> None:
    client, origin = Scene().ask(GET, tls=True)
    assert origin.head().get("X-Forwarded-Proto") == "https"
    assert not client.closed


def test_client_in_ipv6_notation_of_ipv4_is_told_on_as_ipv4() -> None:
    assert Scene().ask(GET, peer="::ffff:192.0.2.1")[1].head().get("X-Forwarded-For") == "192.0.2.1"


def test_via_names_the_version_that_was_received() -> None:
    """RFC 9110 section 7.6.3."""
    assert Scene().forwarded(request(version=b"1.0")).all("Via") == ["1.0 headgate"]


@pytest.mark.parametrize(
    ("line", "name"), [(b"X-REQUEST-id: mine", "x-request-id"), (b"traceparent: t", "traceparent")]
)
def test_identity_that_the_client_brings_is_passed_on(line: bytes, name: str) -> None:
    head = Scene().forwarded(request(line))
    assert head.all(name) == [line.split(b": ")[1].decode()]


def test_empty_request_id_is_replaced() -> None:
    ids = Scene().forwarded(request(b"X-Request-Id:")).all("X-Request-Id")
    assert len(ids) == 1
    assert UUID.match(ids[0])


def test_request_without_a_host_says_nothing_of_it() -> None:
    assert Scene().forwarded(b"GET / HTTP/1.0\r\n\r\n").all("X-Forwarded-Host") == []


def test_flags_that_are_on_are_told_to_the_upstream() -> None:
    flags = {"new-checkout": {"percent": 100}, "never": {"percent": 0}, "also": {"percent": 100}}
    assert Scene(route={"flags": flags}).forwarded(GET).get("X-Headgate-Flags") == "new-checkout, also"


@pytest.mark.parametrize(
    "raw",
    [
        request(b"Connection: upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"),
        request(b"Upgrade: websocket"),
        request(*UPGRADE, method=b"POST"),
        request(*UPGRADE, version=b"1.0"),
        request(*UPGRADE, b"Content-Length: 1", body=b"x"),
        request(b"Connection: upgrade", b"Upgrade: websocket, h2c"),
    ],
)
def test_upgrade_to_anything_but_websocket_is_not_passed_on(raw: bytes) -> None:
    head = Scene().forwarded(raw)
    assert head.get("Upgrade") is None
    assert head.get("Connection") is None
    assert head.get("HTTP2-Settings") is None


def test_upgrade_to_websocket_is_passed_on() -> None:
    head = Scene().forwarded(request(*UPGRADE))
    assert (head.get("Upgrade"), head.get("Connection"), head.get("Sec-WebSocket-Key")) == ("websocket", "Upgrade", "x")


def test_configuration_that_watches_other_fields_sees_them_in_a_head_already_parsed() -> None:
    """The head came under one configuration and is decided by the next."""
    scene = Scene()
    client = scene.client().send(GET[:-2] + b"X-Canary: yes\r\n")
    rule = {"when": {"header": {"x-canary": "yes"}}, "send": "canary"}
    scene.adopt(route={"weights": {"blue": 1}, "rules": [rule]})
    client.send(b"\r\n")
    assert scene.origin.url == "http://10.0.0.2:8002"
    assert scene.origin.head().all("X-Canary") == ["yes"]


def _mutated(rng: random.Random, raw: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        what = rng.randrange(4)
        if what == 0:
            data[at] = rng.choice(b"\x00\t\n\r :;,/\x7f\x80\xffA0")
        elif what == 1:
            del data[at]
        elif what == 2:
            data[at:at] = rng.choice([b" ", b"\r\n", b"\n", b"\r", b"\x00", b":", b"\t", b"\r\n ", b"Host: b\r\n"])
        else:
            end = min(len(data), at + rng.randint(1, 20))
            data[at:at] = data[at:end]
    return bytes(data)


def _h11_refuses(raw: bytes) -> bool:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    try:
        return not isinstance(connection.next_event(), h11.Request)
    except h11.RemoteProtocolError:
        return True


def test_head_that_a_second_parser_refuses_is_never_forwarded() -> None:
    rng = random.Random(9112)
    seeds = [
        request(b"Accept: */*", b"X-A: b c", b"Content-Length: 0", target=b"/a?b=c"),
        request(b"Connection: keep-alive, X-A", b"X-A: b", method=b"OPTIONS", target=b"*"),
        request(b"Content-Length: 3", b"Cookie: a=b", method=b"POST", body=b"abc"),
    ]
    refused = 0
    for _ in range(1500):
        raw = _mutated(rng, rng.choice(seeds))
        scene = Scene()
        scene.client().send(raw)
        if _h11_refuses(raw):
            refused += 1
            assert not scene.dialled, raw
        for origin in scene.origins:
            assert not _h11_refuses(origin.received()), raw
            origin.send(OK)
    assert refused > 300


def test_long_hosts_are_not_remembered() -> None:
    before = dict(request_head._hosts)
    Scene().forwarded(request(b"Host: " + b"a" * 5000))
    assert request_head._hosts.keys() - before.keys() == set()
