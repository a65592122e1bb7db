"""A body may be of any size, and who reads it may be slow: the workers' memory stays what it was."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass

import pytest
import trustme

from tests.support.gateway import Gateway
from tests.support.origin import Arrival, Conversation, Scenes
from tests.support.processes import memory_peak
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, Wire, request

SIZE = 1 << 30
CHUNK = bytes(1 << 20)
GROWTH = 32 << 20
TUNNELLED = 128 << 20
# What may be on its way to a reader that does not read: in our buffers and, most of it, in the kernel's.
HELD = 64 << 20
# What the kernel keeps for a reader that does not read. Its buffers, not ours, so as small as it allows.
RECEIVE_BUFFER = 64 * 1024


@dataclass(slots=True)
class Theatre:
    gateway: Gateway
    scenes: Scenes


@pytest.fixture(scope="module")
def theatre(shared: Stage) -> Theatre:
    scenes = Scenes()
    origin = shared.origin(scenes, receive_buffer=RECEIVE_BUFFER)
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(shared.folder / "both.pem"))
    tls = {"certificate": str(shared.folder / "both.pem"), "key": str(shared.folder / "both.pem")}
    address = {"address": "127.0.0.1:0"}
    endless = {"requests_per_connection": 0}
    gateway = shared.running({"blue": origin.url}, listen=[address, {**address, "tls": tls}], limits=endless)
    with gateway.connect() as client:  # what a worker needs once counts as there before
        client.send(request(scenes.play(lambda connection, arrival: connection.answer(bytes(1 << 20)))))
        client.response()
    return Theatre(gateway, scenes)


def send_rest(wire: Wire, size: int) -> None:
    while size:
        part = CHUNK[: min(size, len(CHUNK))]
        wire.send(part)
        size -= len(part)


def test_1_gib_answer_to_a_slow_reader_keeps_memory_flat(theatre: Theatre) -> None:
    blocked = threading.Event()
    held: list[int] = []

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        held.append(connection.send_until_blocked(CHUNK, SIZE))
        blocked.set()
        send_rest(connection, SIZE - held[0])

    pid = theatre.gateway.worker()
    before = memory_peak(pid)
    with theatre.gateway.connect(receive_buffer=RECEIVE_BUFFER) as client:
        client.send(request(theatre.scenes.play(scene)))
        client.head()
        assert blocked.wait(PATIENCE)
        assert held[0] < HELD, "the gateway took what nobody was reading"
        assert memory_peak(pid) - before < GROWTH
        assert client.skim(SIZE) == SIZE
    assert memory_peak(pid) - before < GROWTH


def test_1_gib_upload_to_a_slow_upstream_keeps_memory_flat(theatre: Theatre) -> None:
    read_on = threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        assert read_on.wait(PATIENCE)
        connection.answer(b"%d" % connection.skim(SIZE))

    pid = theatre.gateway.worker()
    before = memory_peak(pid)
    with theatre.gateway.connect() as client:
        client.send(request(theatre.scenes.play(scene), method="POST", fields={"Content-Length": str(SIZE)}))
        held = client.send_until_blocked(CHUNK, SIZE)
        assert held < HELD, "the gateway took what nobody was reading"
        assert memory_peak(pid) - before < GROWTH
        read_on.set()
        send_rest(client, SIZE - held)
        assert client.response().body == b"%d" % SIZE
    assert memory_peak(pid) - before < GROWTH


def test_endless_answer_to_a_reader_that_leaves_is_stopped(theatre: Theatre) -> None:
    """Chunked, and the client is never heard of again: what was on its way is dropped, and the upstream is let go."""
    stopped = threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                connection.send(b"100000\r\n" + CHUNK + b"\r\n")
        except OSError:
            stopped.set()

    pid = theatre.gateway.worker()
    before = memory_peak(pid)
    with theatre.gateway.connect(receive_buffer=RECEIVE_BUFFER) as client:
        client.send(request(theatre.scenes.play(scene)))
        client.head()
        client.skim(8 << 20)
    assert stopped.wait(PATIENCE)
    assert memory_peak(pid) - before < GROWTH


def test_many_slow_readers_at_once_cost_what_each_may_hold(theatre: Theatre) -> None:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        connection.send_until_blocked(CHUNK, SIZE)
        blocked.release()
        connection.wait_closed()

    blocked = threading.Semaphore(0)
    target = theatre.scenes.play(scene)
    pid = theatre.gateway.worker()
    before = memory_peak(pid)
    clients = [theatre.gateway.connect(receive_buffer=RECEIVE_BUFFER) for _ in range(20)]
    try:
        for client in clients:
            client.send(request(target))
        for _ in clients:
            assert blocked.acquire(timeout=PATIENCE)
        assert memory_peak(pid) - before < GROWTH
    finally:
        for client in clients:
            client.close()


def test_slow_reader_over_tls_holds_no_more_than_others(theatre: Theatre) -> None:
    blocked = threading.Event()
    held: list[int] = []

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        held.append(connection.send_until_blocked(CHUNK, SIZE))
        blocked.set()
        connection.wait_closed()

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    pid = theatre.gateway.worker()
    plain = theatre.gateway.connect(1, receive_buffer=RECEIVE_BUFFER)
    with Wire(context.wrap_socket(plain.sock)) as client:  # the handshake is done: what it takes counts as there before
        before = memory_peak(pid)
        client.send(request(theatre.scenes.play(scene)))
        client.head()
        assert blocked.wait(PATIENCE)
    assert held[0] < HELD
    assert memory_peak(pid) - before < GROWTH


@pytest.mark.parametrize("floods", ["client", "upstream"])
def test_tunnel_waits_for_the_slower_side(theatre: Theatre, floods: str) -> None:
    blocked = threading.Event()
    held: list[int] = []

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        if floods == "upstream":
            held.append(connection.send_until_blocked(CHUNK, SIZE))
            blocked.set()
            send_rest(connection, TUNNELLED - held[0])
        else:
            assert blocked.wait(PATIENCE)
            arrived.append(connection.skim(TUNNELLED))
            connection.send(b"all")

    arrived: list[int] = []
    fields = {"Connection": "Upgrade", "Upgrade": "websocket"}
    pid = theatre.gateway.worker()
    before = memory_peak(pid)
    with theatre.gateway.connect(receive_buffer=RECEIVE_BUFFER) as client:
        client.send(request(theatre.scenes.play(scene), fields=fields))
        assert client.head().start.startswith("HTTP/1.1 101 ")
        if floods == "upstream":
            assert blocked.wait(PATIENCE)
            assert client.skim(TUNNELLED) == TUNNELLED
        else:
            held.append(client.send_until_blocked(CHUNK, SIZE))
            blocked.set()
            send_rest(client, TUNNELLED - held[0])
            assert client.exactly(3) == b"all"
            assert arrived == [TUNNELLED]
    assert held[0] < HELD
    assert memory_peak(pid) - before < GROWTH


def test_client_that_sends_requests_and_reads_no_answer_is_not_read_from(theatre: Theatre) -> None:
    target = theatre.scenes.play(lambda connection, arrival: connection.answer(bytes(1000)))
    own = request(target)
    pid = theatre.gateway.worker()
    before = memory_peak(pid)
    with theatre.gateway.connect(receive_buffer=RECEIVE_BUFFER) as client:
        sent = client.send_until_blocked(own * 10_000, SIZE)
        assert sent < HELD
        assert memory_peak(pid) - before < GROWTH
        for _ in range(2000):  # and each is answered all the same, once it reads
            assert client.response().status == 200
