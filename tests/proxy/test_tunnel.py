"""After a 101: bytes both ways as they come, and an end on both sides."""

from __future__ import annotations

from proxy.control import InFlight
from proxy.tunnel import IDLE_SECONDS
from tests.proxy.fakes import GET, OK, End, Scene, error_of, request

UPGRADE = request(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket", b"Sec-WebSocket-Key: k")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n"
)


def opened(scene: Scene) -> tuple[End, End]:
    client, origin = scene.ask(UPGRADE)
    origin.received()
    origin.send(SWITCH)
    client.received()
    return client, origin


def test_upgrade_that_the_upstream_agrees_to_opens_a_tunnel() -> None:
    scene = Scene()
    client, origin = scene.ask(UPGRADE)
    origin.send(SWITCH)
    head = client.head()
    assert head.start == "HTTP/1.1 101 Switching Protocols"
    assert [head.get(name) for name in ("Upgrade", "Connection", "Sec-WebSocket-Accept")] == [
        "websocket",
        "Upgrade",
        "a",
    ]
    client.send(b"\x81\x00")
    origin.received()
    origin.send(b"\x8a\x00")
    assert client.received() == b"\x8a\x00"


def test_bytes_sent_before_the_tunnel_is_open_wait_for_it() -> None:
    """Until the 101 they could be anything, so the upstream must not see them."""
    scene = Scene()
    client, origin = scene.ask(UPGRADE + b"ear")
    client.send(b"ly")
    assert origin.received().endswith(b"\r\n\r\n")
    origin.send(SWITCH + b"first")
    assert origin.received() == b"early"
    assert client.received().endswith(b"\r\n\r\nfirst")


def test_upgrade_to_something_else_than_was_asked_is_a_502() -> None:
    scene = Scene()
    client, origin = scene.ask(UPGRADE)
    origin.send(SWITCH.replace(b"websocket", b"h2c"))
    assert error_of(client.received()) == "bad_response"
    assert origin.transport.aborted
    assert scene.at_rest


def test_upgrade_refused_is_an_ordinary_answer() -> None:
    scene = Scene()
    client, origin = scene.ask(UPGRADE)
    origin.send(b"HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n")
    assert b" 426 " in client.received()
    client.send(GET)
    origin.send(OK)
    assert client.received().endswith(b"ok")


def test_end_of_the_client_ends_the_upstream_after_what_was_sent() -> None:
    scene = Scene()
    client, origin = opened(scene)
    client.send(b"bye").finish()
    assert origin.received() == b"bye"
    assert origin.closed
    assert not origin.transport.aborted
    assert scene.at_rest
    assert scene.plane.connections == 0
    assert scene.codes() == {("shop", "blue"): {101: 1}}


def test_end_of_the_upstream_ends_the_client_after_what_was_sent() -> None:
    scene = Scene()
    client, origin = opened(scene)
    client.transport.stuck = True
    origin.send(b"bye").finish()
    assert client.closed
    assert not client.transport.lost
    client.take()
    assert client.received() == b"bye"
    assert client.transport.lost
    assert not client.transport.aborted
    assert scene.at_rest


def test_side_that_does_not_read_holds_the_other_back() -> None:
    client, origin = opened(Scene())
    for near, far in ((client, origin), (origin, client)):
        far.transport.stuck = True
        for _ in range(10):
            near.send(b"b" * 30_000)
        assert near.transport.paused
        assert far.transport.most_buffered < 100_000
        far.transport.stuck = False
        far.take()
        assert not near.transport.paused
        assert len(far.received()) == 300_000


def test_upstream_that_never_takes_the_rest_is_cut_in_the_end() -> None:
    scene = Scene(timeouts={"idle": "60s"})
    client, origin = opened(scene)
    origin.transport.stuck = True
    client.send(b"unread").finish()
    assert not origin.transport.lost
    scene.pass_time(59)
    assert not origin.transport.lost
    scene.pass_time(61)
    assert origin.transport.lost


def test_silent_tunnel_is_kept_for_its_time() -> None:
    scene = Scene()
    client, origin = opened(scene)
    scene.pass_time(1000)
    client.send(b"ping")
    scene.pass_time(1000 + IDLE_SECONDS - 1)
    assert not client.closed
    scene.pass_time(1000 + IDLE_SECONDS + 1)
    assert client.closed
    assert origin.closed
    assert scene.at_rest


def test_cutback_that_aborts_cuts_tunnels() -> None:
    scene = Scene(route={"weights": {"canary": 1}})
    client, origin = opened(scene)
    assert scene.publish(in_flight=InFlight.FINISH) == {"canary": 1}
    assert not client.closed
    assert scene.publish(in_flight=InFlight.ABORT) == {}
    assert client.transport.aborted
    assert origin.transport.aborted
    assert scene.at_rest
