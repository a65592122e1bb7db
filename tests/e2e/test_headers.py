"""Fields on their way: what the gateway adds, removes and leaves alone, seen on the wire at both ends."""

from __future__ import annotations

import re

import pytest

from tests.support.gateway import Gateway
from tests.support.origin import Arrival, Conversation, Origin
from tests.support.stage import Stage
from tests.support.wire import Head, Response, request

PEER = "127.0.0.1"


class Exchange:
    """What a request became on its way to the upstream, and what the upstream's answer became."""

    def __init__(self, arrival: Arrival, answer: Response) -> None:
        self.sent: Head = arrival.head
        self.answer = answer


def exchange(gateway: Gateway, origin: Origin, data: bytes) -> Exchange:
    before = len(origin.arrivals)
    with gateway.connect() as client:
        client.send(data)
        answer = client.response()
    return Exchange(origin.arrivals[before], answer)


@pytest.fixture(scope="module")
def origin(shared: Stage) -> Origin:
    return shared.origin()


def own_words(connection: Conversation) -> None:
    while True:
        connection.receive()
        connection.send(
            b"HTTP/1.1 299 Own Words\r\nserver: mine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-MiXeD: 1\r\n"
            b"Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=9\r\nX-Hop: 1\r\nX-Headgate-Upstream: forged\r\n"
            b"Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
        )


@pytest.fixture(scope="module")
def raw(shared: Stage) -> Origin:
    return shared.origin(own_words)


@pytest.fixture(scope="module")
def gateway(shared: Stage, origin: Origin, raw: Origin) -> Gateway:
    """Nobody is trusted."""
    upstreams = {
        "blue": origin.url,
        "raw": raw.url,
        "upstream": {"endpoints": [origin.url], "host": "upstream"},
        "literal": {"endpoints": [origin.url], "host": "api.internal"},
    }
    rules = [{"when": {"path": f"/{name}"}, "send": name} for name in upstreams]
    return shared.running(upstreams, {"rules": rules})


@pytest.fixture(scope="module")
def behind(shared: Stage, origin: Origin) -> Gateway:
    """Loopback is a trusted proxy."""
    trusted = ["127.0.0.0/8", "10.0.0.0/8"]
    return shared.running({"blue": origin.url}, {"expose_upstream": True}, trusted_proxies=trusted)


def test_fields_of_the_contract_are_added(gateway: Gateway, origin: Origin) -> None:
    sent = exchange(gateway, origin, request("/a?b=c", fields={"Host": "Shop.Example:81"})).sent
    assert sent.start == "GET /a?b=c HTTP/1.1"
    assert sent.all("host") == ["Shop.Example:81"]
    assert sent.all("x-forwarded-for") == [PEER]
    assert sent.all("x-forwarded-proto") == ["http"]
    assert sent.all("x-forwarded-host") == ["Shop.Example:81"]
    assert sent.all("via") == ["1.1 headgate"]
    assert re.fullmatch(r"[0-9a-f]{32}", sent.get("x-request-id") or "")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", sent.get("traceparent") or "")
    assert sent.names[-6:] == [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "Via",
        "X-Forwarded-Host",
        "X-Request-Id",
        "traceparent",
    ]


def test_identities_that_the_client_brings_are_passed_on(gateway: Gateway, origin: Origin) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    fields = {"X-Request-ID": "mine", "traceparent": trace, "tracestate": "a=b"}
    sent = exchange(gateway, origin, request(fields=fields)).sent
    assert [sent.all(name) for name in fields] == [["mine"], [trace], ["a=b"]]


def test_each_request_has_an_identity_of_its_own(gateway: Gateway, origin: Origin) -> None:
    before = len(origin.arrivals)
    with gateway.connect() as client:
        for _ in range(20):
            client.send(request())
            client.response()
    made = [(arrival.get("x-request-id"), arrival.get("traceparent")) for arrival in origin.arrivals[before:]]
    assert len({one for one, _ in made}) == len({one for _, one in made}) == 20


def test_names_keep_their_case_and_fields_their_order(gateway: Gateway, origin: Origin) -> None:
    fields = {"ACCEPT": "a", "x-lower": "b", "X-MiXeD": "c", "Authorization": "Basic eDp5", "Cookie": "a=b; c=d"}
    sent = exchange(gateway, origin, request(fields=fields)).sent
    assert [(name, value) for name, value in sent.fields if name in fields] == list(fields.items())


def test_repeated_fields_are_not_joined(gateway: Gateway, origin: Origin) -> None:
    sent = exchange(gateway, origin, request()[:-2] + b"X-A: 1\r\nx-a: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n").sent
    assert (sent.all("x-a"), sent.all("cookie")) == (["1", "2"], ["a=1", "b=2"])


def test_hop_by_hop_fields_stay_on_their_hop(gateway: Gateway, origin: Origin) -> None:
    fields = {
        "Connection": "keep-alive, X-Mine, Via, X-Request-Id",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "Proxy-Authorization": "Basic eDp5",
        "TE": "trailers, deflate",
        "Upgrade": "h2c",
        "X-Mine": "for this hop",
        "X-Request-Id": "stays",
        "X-Other": "stays",
    }
    sent = exchange(gateway, origin, request(fields=fields)).sent
    assert sent.names[:3] == ["Host", "X-Request-Id", "X-Other"]
    assert not {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade", "x-mine"} & {
        name.lower() for name in sent.names
    }
    assert sent.get("via")


@pytest.mark.parametrize("name", ["X-Headgate-Flags", "x-headgate-shadow", "X-HEADGATE-Anything"])
def test_our_own_fields_from_a_client_are_removed(gateway: Gateway, origin: Origin, name: str) -> None:
    assert not exchange(gateway, origin, request(fields={name: "forged"})).sent.all(name)


def test_forwarding_fields_of_a_stranger_say_nothing(gateway: Gateway, origin: Origin) -> None:
    fields = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "444",
        "Forwarded": "for=203.0.113.9",
    }
    sent = exchange(gateway, origin, request(fields=fields)).sent
    assert sent.all("x-forwarded-for") == [PEER]
    assert sent.all("x-forwarded-proto") == ["http"]
    assert sent.all("x-forwarded-host") == ["shop.example"]
    assert sent.all("x-forwarded-port") == sent.all("forwarded") == []


def test_forwarding_fields_of_a_trusted_proxy_are_continued(behind: Gateway, origin: Origin) -> None:
    fields = {
        "X-Forwarded-For": "203.0.113.9, 10.1.1.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.shop.example",
        "Via": "1.1 edge",
    }
    sent = exchange(behind, origin, request(fields=fields)).sent
    assert sent.all("x-forwarded-for") == [f"203.0.113.9, 10.1.1.1, {PEER}"]
    assert sent.all("x-forwarded-proto") == ["https"]
    assert sent.all("x-forwarded-host") == ["www.shop.example"]
    assert sent.all("via") == ["1.1 edge, 1.1 headgate"]


def test_trusted_proxy_that_says_nothing_is_itself_the_client(behind: Gateway, origin: Origin) -> None:
    sent = exchange(behind, origin, request()).sent
    assert sent.all("x-forwarded-for") == [PEER]
    assert sent.all("x-forwarded-proto") == ["http"]


def test_absolute_target_decides_the_host(gateway: Gateway, origin: Origin) -> None:
    data = b"GET http://real.example/a HTTP/1.1\r\nHost: other.example\r\n\r\n"
    sent = exchange(gateway, origin, data).sent
    assert (sent.start, sent.all("host")) == ("GET /a HTTP/1.1", ["real.example"])


def test_http_1_0_request_goes_on_as_1_1_with_a_host(gateway: Gateway, origin: Origin) -> None:
    done = exchange(gateway, origin, b"GET /old HTTP/1.0\r\n\r\n")
    assert done.sent.start == "GET /old HTTP/1.1"
    assert done.sent.all("host") == [origin.url.removeprefix("http://")]
    assert done.answer.get("connection") == "close"


def test_body_of_a_request_is_framed_once(gateway: Gateway, origin: Origin) -> None:
    sent = exchange(gateway, origin, request(method="POST", body=b"abc")).sent
    assert (sent.all("content-length"), sent.all("transfer-encoding")) == (["3"], [])
    data = request(method="POST", fields={"Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n0\r\n\r\n"
    sent = exchange(gateway, origin, data).sent
    assert (sent.all("content-length"), sent.all("transfer-encoding")) == ([], ["chunked"])
    sent = exchange(gateway, origin, request(method="POST", body=b"")).sent
    assert sent.all("content-length") == ["0"]


def test_answer_keeps_the_upstreams_fields_and_loses_its_hop(gateway: Gateway, raw: Origin) -> None:
    answer = exchange(gateway, raw, request("/raw")).answer
    assert answer.head.start == "HTTP/1.1 299 Own Words"
    *fields, (last, _) = answer.head.fields
    assert last == "Date"
    assert fields == [
        ("server", "mine"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-MiXeD", "1"),
        ("Content-Length", "0"),
    ]


@pytest.mark.parametrize(("policy", "host"), [("upstream", None), ("literal", "api.internal")])
def test_host_policy_of_an_upstream_is_followed(
    gateway: Gateway, origin: Origin, policy: str, host: str | None
) -> None:
    sent = exchange(gateway, origin, request(f"/{policy}")).sent
    assert sent.all("host") == [host or origin.url.removeprefix("http://")]
    assert sent.all("x-forwarded-host") == ["shop.example"]


def test_upstream_is_named_to_clients_only_where_the_route_says_so(
    gateway: Gateway, behind: Gateway, origin: Origin
) -> None:
    assert exchange(gateway, origin, request()).answer.get("x-headgate-upstream") is None
    assert exchange(behind, origin, request()).answer.head.all("x-headgate-upstream") == ["blue"]
