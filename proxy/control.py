"""Messages between supervisor, workers and admin, and their framing.

Every child has one stream socket to the supervisor, inherited at start. The supervisor is the hub: it keeps the last
published state, so that a new worker gets it before it accepts, even while admin is dead. A frame is a 4-byte big-endian
length and a pickle; both ends are our own processes, and the socket has no name that anyone else could open.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from routing.pickling import dumps
from routing.snapshot import Endpoints, Live

_LENGTH = 4
HEARTBEAT_SECONDS = 0.25
# Connections that wait to be accepted, a listening socket: supervisor and worker both say listen().
LISTEN_BACKLOG = 4096
# A snapshot of 10,000 routes is about 10 MB. A longer frame means that the stream is out of step.
MAX_FRAME = 256 * 1024 * 1024


class InFlight(Enum):
    """What happens at a cutback to requests that were already sent to an upstream that lost its traffic."""

    FINISH = "finish"
    RETRY = "retry"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Publish:
    """admin -> supervisor -> workers: a new state. `snapshot` (a pickled Snapshot) is None where only live state changed;
    `live` then holds the changed routes alone, else all of them. Revisions only grow."""

    revision: int
    live: dict[str, Live]
    snapshot: bytes | None = None
    in_flight: InFlight = InFlight.FINISH
    shadowing: bool = False
    """Whether any route has a shadow in force, so that the shadow process is needed."""
    endpoints: dict[str, Endpoints] = field(default_factory=dict)
    """Live endpoints by upstream, as `live` has routes: the changed ones alone, or with a snapshot all of them."""


@dataclass(frozen=True, slots=True)
class Ack:
    """worker -> supervisor: that revision is in force; `in_flight` counts requests still out at upstreams that lost theirs."""

    revision: int
    in_flight: dict[str, int]


@dataclass(frozen=True, slots=True)
class Nack:
    """worker -> supervisor: that revision could not be adopted; the worker serves on with the one before."""

    revision: int
    error: str


@dataclass(frozen=True, slots=True)
class Published:
    """supervisor -> admin: what became of a Publish. `seconds` runs from its arrival to the last acknowledgement."""

    revision: int
    acked: int
    total: int
    replaced: int
    seconds: float
    in_flight: dict[str, int]
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """child -> supervisor, several times a second, sent by the event loop itself: a frozen loop is a dead child."""


@dataclass(frozen=True, slots=True)
class Ready:
    """child -> supervisor: serving."""


@dataclass(frozen=True, slots=True)
class Failed:
    """child -> supervisor: cannot start, and why, in one line. The gateway stops if it never ran, else tries again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """supervisor -> child: finish what is under way within `seconds`, then exit. `handed_over`: others accept from the same
    sockets, so what waits in their queues is theirs."""

    seconds: float
    handed_over: bool = False


@dataclass(frozen=True, slots=True)
class Reload:
    """supervisor -> admin: SIGHUP came; read the configuration file again."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """admin -> supervisor: that is done, whatever came of it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """child -> admin: a line for the operators' log, such as a geo database that can't be read."""

    source: str
    level: str
    event: str
    detail: str


@dataclass(slots=True)
class Cell:
    """What one worker saw of one (route, upstream) since its last report. `buckets` maps an index of
    `proxy.stats.EDGES` to a count."""

    route: str
    upstream: str
    codes: dict[int, int]
    buckets: dict[int, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Arm:
    """What one worker counted of one upstream of a judged route since its last report, by the rules of proxy/arms.py."""

    route: str
    upstream: str
    requests: int
    bad: int
    """Of `requests`, those that the upstream failed."""
    buckets: dict[int, int]
    """As in `Cell`, of those that it did not fail."""
    keys: tuple[int, ...] = ()
    """On a sticky route, the buckets of the clients behind `bad`, each once."""
    unlisted: int = 0
    """Of `bad`, those of clients beyond the most `keys` there may be."""


@dataclass(slots=True)
class Stats:
    """worker -> admin: differences since the last report, and gauges as they are now."""

    worker: int
    cells: list[Cell]
    counters: dict[tuple[str, str], int]
    """(metric, label value) -> increment, from the closed sets in `proxy.stats`."""
    gauges: dict[str, float]
    copied: dict[str, int] = field(default_factory=dict)
    """route -> requests copied to its shadow."""
    not_copied: dict[tuple[str, str], int] = field(default_factory=dict)
    """(route, reason) -> requests in the sample that were not, by `proxy.capture.Drop`."""
    arms: list[Arm] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DiffReport:
    """shadow -> admin: what is known of a route's diffs, whole (see `shadow.findings.RouteFindings.to_json`), whenever it has
    changed. `examples` are those found since the last report."""

    route: str
    since: int
    """The revision at which these diffs began: a report from before a fresh start is void."""
    state: dict[str, Any]
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class DiffsWanted:
    """shadow -> admin, first of all: what is kept of earlier diffs? It compares nothing until it is told."""


@dataclass(frozen=True, slots=True)
class DiffsKept:
    """admin -> shadow: route -> `DiffReport.state` as it was last kept."""

    states: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DiffsResend:
    """supervisor -> shadow: admin is new; report everything again."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    number: int
    pid: int
    ready: bool
    revision: int
    started_at: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class ShadowState:
    """The shadow process. `restarts` counts since the start; `pid` is 0 between two."""

    pid: int
    ready: bool
    restarts: int


@dataclass(frozen=True, slots=True)
class Workers:
    """supervisor -> admin: the workers, and the shadow process where there is one; sent whenever one of them starts, is ready or
    dies. `restarts` counts the workers' since the start; `crashing` are the processes that die again and again, with how often in
    a row; `draining` once the gateway has been told to stop; `addresses` those that it listens on, in the order of `listen`."""

    workers: tuple[WorkerState, ...]
    restarts: int
    shadow: ShadowState | None = None
    crashing: dict[str, int] = field(default_factory=dict)
    draining: bool = False
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InForce:
    """supervisor -> admin, first of all: what the workers have. Admin may have died between telling the workers of a change
    and storing it; what is newer here than in the store is taken over. Revision 0 is nothing yet; `upgraded` says that active
    checks had found `endpoints` before a hot restart."""

    revision: int
    live: dict[str, Live]
    endpoints: dict[str, Endpoints] = field(default_factory=dict)
    upgraded: bool = False


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate and its key: where they are, and what was there when the gateway started."""

    certificate: str
    key: str
    certificate_pem: bytes = field(default=b"", repr=False)
    key_pem: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS of a listener. The first certificate is for clients that ask for none of the others; `hsts` is in seconds, 0 for none."""

    certificates: tuple[CertificateFiles, ...]
    min_version: str = "1.2"
    hsts: int = 0
    client_ca: str = ""
    """A file of authorities for clients' certificates; empty where none is asked for."""
    client_ca_pem: bytes = field(default=b"", repr=False)
    client_required: bool = True


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One inherited listening socket; `tls` None for a plain one."""

    fd: int
    address: str
    tls: TlsSettings | None = None
    redirect: int = 0
    """The port of HTTPS that every request is sent to; 0 for none."""
    proxied: bool = False
    """Whether each connection begins with a PROXY header."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """supervisor -> worker, first of all: what stays the same for the life of the process."""

    number: int
    listeners: tuple[ListenerSettings, ...] = field(default=())
    workers: int = 1
    """How many workers share the gateway's limits."""
    state: str = ""
    """The state folder, where the shadow process listens for copies; empty for none."""
    shared: int = -1
    """The descriptor of what all workers count together (proxy/shared.py)."""


Message = (
    Publish
    | Published
    | Ack
    | Nack
    | Heartbeat
    | Ready
    | Failed
    | Drain
    | Reload
    | Reloaded
    | Notice
    | Stats
    | Workers
    | InForce
    | WorkerSettings
    | DiffReport
    | DiffsWanted
    | DiffsKept
    | DiffsResend
)


def encode(message: Message) -> bytes:
    payload = dumps(message)
    return len(payload).to_bytes(_LENGTH, "big") + payload


class Decoder:
    """Bytes in, messages out; any split of the bytes gives the same messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Raises ValueError for a frame above MAX_FRAME."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= _LENGTH:
            length = int.from_bytes(buffer[start : start + _LENGTH], "big")
            if length > MAX_FRAME:
                raise ValueError(f"a control frame of {length} bytes")
            end = start + _LENGTH + length
            if len(buffer) < end:
                break
            messages.append(pickle.loads(memoryview(buffer)[start + _LENGTH : end]))  # noqa: S301 - our own processes
            start = end
        if start:
            del buffer[:start]
        return messages


class Channel(asyncio.Protocol):
    """One end of a control socket in an event loop. `on_message` is called for each message, `on_lost` once at the end."""

    def __init__(self, on_message: Callable[[Message], None], on_lost: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._decoder = Decoder()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost()

    def send(self, message: Message) -> None:
        """Queues the message; does nothing once the other end is gone."""
        if self._transport is not None:
            self._transport.write(encode(message))

    @property
    def backlog(self) -> int:
        """Bytes queued and not yet taken by the other end."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
