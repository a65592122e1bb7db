"""Whatever happens to a request, in whatever order, it ends exactly once and nothing of it is left over."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control import InFlight
from proxy.errors import ErrorKind
from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import BLUE, GET, End, Scene, request

CANARIES = {"endpoints": ["http://10.0.0.2:1", "http://10.0.0.2:2"]}
CUT, OPEN = Live(cutback=CutbackMode.CUT), Live()

EVENTS = st.lists(
    st.sampled_from(
        [
            *("connect", "refuse", "client sends", "client breaks", "client leaves", "client resets", "client stuck"),
            *("client reads", "head", "part", "end", "garbage", "interim", "upstream closes", "upstream resets"),
            *(
                "upstream stuck",
                "upstream reads",
                "time",
                "cut",
                "cut retry",
                "cut abort",
                "restore",
                "reload",
                "drain",
            ),
        ]
    ),
    max_size=14,
)
BODY = b"Transfer-Encoding: chunked\r\n\r\n"
RAWS = [
    GET,
    GET * 3,
    request(b"Content-Length: 1", method=b"POST", body=b"x") + GET,
    request(b"Content-Length: 70000", method=b"PUT", body=b"x" * 70_000),
    request(b"Transfer-Encoding: chunked", method=b"PUT", body=b"2\r\nab\r\n"),
    request(b"Connection: close"),
    request(version=b"1.0"),
    request(b"Connection: upgrade", b"Upgrade: websocket"),
]
BYTES = {
    "head": b"HTTP/1.1 200 OK\r\n" + BODY,
    "part": b"2\r\nab\r\n",
    "end": b"0\r\n\r\n",
    "garbage": b"\x00\x00\r\n\r\n",
    "interim": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
}


def act(scene: Scene, client: End, event: str, clock: list[float]) -> None:
    """One event, where it can happen at all."""
    origin = scene.origins[-1] if scene.origins else None
    live = {"cut": InFlight.FINISH, "cut retry": InFlight.RETRY, "cut abort": InFlight.ABORT}
    if event in ("connect", "refuse") and scene.dials:
        scene.connect(ErrorKind.CONNECT if event == "refuse" else None)
    elif event in BYTES and origin is not None:
        origin.send(BYTES[event])
    elif event == "client sends":
        client.send(b"1\r\nx\r\n")
    elif event == "client breaks":
        client.send(b"\x00zz")
    elif event == "client leaves":
        client.finish()
    elif event == "client resets":
        client.reset()
    elif event == "upstream closes" and origin is not None:
        origin.finish()
    elif event == "upstream resets" and origin is not None:
        origin.reset()
    elif event == "time":
        clock[0] += 7
        scene.pass_time(clock[0])
    elif event in live:
        scene.publish(CUT, live[event])
    elif event == "restore":
        scene.publish(OPEN)
    elif event == "reload":
        scene.adopt(upstreams={"canary": CANARIES, "blue": {"endpoints": ["http://10.0.0.9:9"]}})
    elif event == "drain":
        scene.plane.drain()
        scene.settle()
    elif event.endswith(("stuck", "reads")):
        end = client if event.startswith("client") else origin
        if end is not None:
            end.transport.stuck = event.endswith("stuck")
            end.take()


@settings(max_examples=400)
@given(st.sampled_from(RAWS), EVENTS, st.booleans())
def test_exchange_ends_exactly_once_whatever_happens_in_whatever_order(
    raw: bytes, events: list[str], slow: bool
) -> None:
    """`finish` asserts that it is called once; here that nothing is left over, and that each request counts once."""
    retry = {"attempts": 1, "on": ["connect", "reset", 503]}
    scene = Scene(
        route={"weights": {"canary": 1}, "retry": retry},
        upstreams={"blue": {"endpoints": [BLUE]}, "canary": CANARIES},
        hold=slow,
        limits={"per_endpoint": 2},
    )
    client = scene.client().send(raw)
    clock = [0.0]
    for event in events:
        act(scene, client, event, clock)
        for pool in scene.pools.values():
            assert 0 <= pool.leased <= 2
        assert len(scene.plane.active) <= 1
    client.transport.stuck = False
    client.take()
    client.reset()
    while scene.dials:
        scene.connect()
    assert scene.at_rest
    assert scene.plane.connections == 0
    idle = {id(end.transport) for end in scene.origins if not end.closed}
    scene.pass_time(clock[0] + 4000)
    assert all(end.closed for end in scene.origins), f"{len(idle)} connections in no list"
