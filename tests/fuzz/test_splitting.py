"""Bytes cut anywhere, through whole connections: what comes out at the other end is the same.

Chunks are cut anew as data comes, so bodies are compared as they read; all else byte by byte. Of what is broken, how much gets
out depends on the cut: a head may be on its way before its body turns out to be none. Then only what is whole has to be the same.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.second import Read, read_request, read_response
from tests.fuzz.test_differential import wild
from tests.fuzz.wild import WILD_REQUESTS, WILD_RESPONSES
from tests.proxy.fakes import GET, OK, Scene, request, snapshot_of
from tests.proxy.streams import REQUESTS, RESPONSE, Sent, cuts

SNAPSHOT = snapshot_of()
GET_10 = request(version=b"1.0")
sound = settings(suppress_health_check=list(HealthCheck))
# Made at random for each request, unless the client says them.
RTSP = b" RTSP/"
IDENTITY = b"X-Request-Id: r\r\ntraceparent: t\r\n"


def whole_requests(raw: bytes) -> list[Read]:
    """Those that have come whole, as an upstream reads them."""
    reads = []
    read = read_request(raw)
    while read.complete:
        reads.append(read)
        read = read_request(read.rest)
        reads[-1].rest = b""
    return reads


Served = tuple[list[Read], list[bytes], bool]


def served(parts: list[bytes]) -> Served:
    """A client sends the parts, and the upstream answers each request that it has whole: what it got, the first lines of the
    answers, and whether the client's connection was closed."""
    scene = Scene(SNAPSHOT)
    client = scene.client().send(*parts)
    taken: dict[int, bytes] = {}
    answered: dict[int, int] = {}
    at = 0
    while at < len(scene.origins):
        origin = scene.origins[at]
        taken[at] = taken.get(at, b"") + origin.received()
        requests = whole_requests(taken[at])
        if len(requests) > answered.get(at, 0):
            answered[at] = answered.get(at, 0) + 1
            bare = requests[answered[at] - 1].start[0] == b"HEAD"
            origin.send(OK[:-2] if bare else OK)
        else:
            at += 1
    got = [read for raw in taken.values() for read in whole_requests(raw)]
    for read in got:
        read.fields = [one for one in read.fields if one[0] not in (b"x-request-id", b"traceparent")]
    lines = [line for line in client.received().split(b"\r\n") if line.startswith((b"HTTP/1.1 ", b"okHTTP/1.1 "))]
    lines = [line if b" 200 " in line else b"refused" for line in lines]  # of two reasons the one that is seen first
    return got, lines, client.closed or client.transport.half_closed  # with a body unread it lingers


def up_to_the_foreign_line(*outcomes: Served) -> list[Served]:
    """As far as all of them go. Requests that come in one read with a line of RTSP are refused with it where they ask for the
    same target: llhttp tells the two by nothing else."""
    least = min(len(got) for got, _, _ in outcomes)
    return [(got[:least], lines[:least], closed) for got, lines, closed in outcomes]


def relayed(parts: list[bytes], asking: bytes) -> tuple[list[Read], Read] | None:
    """What the client reads of a response, or None where it gets nothing whole, or an error of ours."""
    client, origin = Scene(SNAPSHOT).ask(asking)
    origin.send(*parts).finish()
    out = client.received()
    interim, read = read_response(out, to_head=asking.startswith(b"HEAD"), ended=not client.transport.aborted)
    if not read.complete or b"\r\nX-Headgate-Error: " in out:
        return None
    read.fields = [one for one in read.fields if one[0] != b"date"]
    return interim, read


@sound
@given(st.data(), REQUESTS)
def test_requests_cut_anywhere_reach_the_upstream_the_same(data: st.DataObject, sent: list[Sent]) -> None:
    raw = b"".join(one.raw.replace(b"\r\n", b"\r\nHost: shop.example\r\n" + IDENTITY, 1) for one in sent)
    whole = served([raw])
    assert [read.body for read in whole[0]] == [one.body for one in sent]
    assert whole[1:] == ([b"HTTP/1.1 200 OK", *[b"okHTTP/1.1 200 OK"] * (len(sent) - 1)], False)
    assert served(data.draw(cuts(raw))) == whole


@sound
@given(st.data(), RESPONSE, st.sampled_from([GET, GET_10, request(b"Connection: close")]))
def test_response_cut_anywhere_reaches_the_client_the_same(data: st.DataObject, sent: Sent, asking: bytes) -> None:
    whole = relayed([sent.raw], asking)
    assert whole is not None
    assert whole[1].body == sent.body
    assert relayed(data.draw(cuts(sent.raw)), asking) == whole


@wild
@given(st.data(), WILD_REQUESTS)
def test_damaged_requests_cut_anywhere_are_taken_for_the_same(data: st.DataObject, raw: bytes) -> None:
    parts, whole = served(data.draw(cuts(raw))), served([raw])
    if RTSP in raw:
        parts, whole = up_to_the_foreign_line(parts, whole)
    assert parts == whole


@wild
@given(st.data(), WILD_RESPONSES, st.sampled_from([GET, request(method=b"HEAD"), GET_10]))
def test_damaged_response_cut_anywhere_is_taken_for_the_same(data: st.DataObject, raw: bytes, asking: bytes) -> None:
    """Cut or refused, where one of the two is; surplus behind a whole response never matters."""
    assert relayed(data.draw(cuts(raw)), asking) == relayed([raw], asking)
