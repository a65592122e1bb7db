"""Whatever happens to copies, in whatever order: each is counted once, what it held comes back, and only those get it that may."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.capture_frames import Drop
from routing.snapshot import Live
from shadow import mirror
from shadow.call import Budget
from shadow.route import ShadowRoute
from shadow.verdict import Compared
from tests.proxy.fakes import End, snapshot_of
from tests.shadow.fakes import BLUE, CONTROL, NEXT, OK, UPSTREAMS, Shadows, Worker
from tests.shadow.pairs import compared

OTHER = "http://10.0.0.9:9"
CREDENTIALS = b"Authorization: Bearer x\r\nCOOKIE: a=b\r\n"
# Another order than that of the scene, so that indexes move.
MOVED = {"another": {"endpoints": [OTHER]}, **dict(reversed(UPSTREAMS.items()))}
DIFFERENT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"


def head(method: bytes = b"GET", *lines: bytes) -> bytes:
    return method + b" /orders/17 HTTP/1.1\r\nHost: 10.0.0.1:8001\r\n" + CREDENTIALS + b"".join(lines) + b"\r\n"


def test_route_that_is_gone_asks_nobody_again() -> None:
    """Its indexes are those of a configuration that is no more: they would lead to anyone."""
    scene = Shadows(noise_sample="1%")
    worker = scene.worker()
    worker.answer(worker.request(), b"no")
    scene.origins[0].send(OK)
    [(_, done)] = scene.differs.jobs
    scene.mirror.adopt(snapshot_of({}, {"blue": UPSTREAMS["blue"]}), {"shop": Live()})
    done(compared(["$.a"]))
    scene.settle()
    assert [origin.url for origin in scene.origins] == [NEXT]


def test_pair_whose_answers_are_there_outlives_its_worker_while_the_shadow_is_slow() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.answer(worker.request())
    worker.lose()
    scene.origins[0].send(OK)
    assert scene.dropped() == {}
    assert found(scene.mirror.routes["shop"]) == 1


def test_copy_without_an_answer_does_not_wait_for_a_primary_that_takes_its_time() -> None:
    """Streams and long polls would hold all credits of their route."""
    scene = Shadows()
    worker = scene.worker()
    before = worker.credits()
    number = worker.request()
    scene.pass_time(60)
    assert scene.dropped() == {"timeout": 1}
    assert worker.credits() > before / 4
    assert worker.link.pairs == {}
    worker.answer(number)
    assert scene.dropped() == {"timeout": 1}


def test_worker_that_does_not_read_is_told_later() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.transport.stuck = True
    for wanted in range(5000):
        worker.link.give("shop", wanted, False)
    worker.transport.take(1 << 30)
    assert worker.credits() == 4999


def test_each_worker_has_its_turn_at_a_window_smaller_than_their_number() -> None:
    """Else a shadow that has recovered would not be seen to, where the one that may ask has no requests."""
    scene = Shadows()
    workers = [scene.worker() for _ in range(3)]
    scene.mirror.routes["shop"].window.limit = 1.0
    turns = set()
    for second in range(6):
        scene.pass_time(second)
        credits = [worker.credits() for worker in workers]
        assert sum(credits) == 1
        turns.add(credits.index(1))
    assert turns == {0, 1, 2}


def found(route: ShadowRoute) -> int:
    """Copies of which something became: compared, undecided or dropped."""
    route.findings.resend()
    report = route.findings.take_report(0.0)
    assert report is not None
    kept = report.state["endpoints"].values()
    counts: list[int] = [state["equal"][0] + state["examined"][0] + sum(state["unknown"].values()) for state in kept]
    dropped: dict[str, int] = report.state["dropped"]
    return sum(counts) + sum(dropped.values())


ANSWERS = {
    "same": OK,
    "different": DIFFERENT,
    "part": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
    "large": b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n" + b"x" * 90,
    "garbage": b"\x00\x00\r\n\r\n",
    "interim": b"HTTP/1.1 103 Hints\r\n\r\n",
    "switch": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "last": b"HTTP/1.0 200 OK\r\n\r\nok",
    "surplus": OK + b"x",
}
EVENTS = (
    st.sampled_from(["copy", "copy", "copy of HEAD", "copy of POST", "copy of another's", "body over the budget"])
    | st.sampled_from(["answered", "answered", "answered otherwise", "answered too much", "gone"])
    | st.sampled_from([*ANSWERS, "same", "same", "closes", "resets", "connect", "refuse"])
    | st.sampled_from(["compared", "compared", "undecided", "busy", "idle", "time", "idle long", "reported"])
    | st.sampled_from(["join", "leave", "route gone", "route back", "moved", "small", "no control", "flush"])
)


class World:
    def __init__(self, control: bool, sample: str, hold: bool) -> None:
        self.scene = Shadows(
            control=control, noise_sample=sample, methods=["GET", "HEAD", "POST"], max_body=80, timeout="10s"
        )
        self.scene.hold = hold
        self.budget = self.scene.mirror._budget = Budget(2000)
        self.scene.mirror._comparisons._random.seed(1)
        self.workers: list[Worker] = [self.scene.worker()]
        self.lost: list[Worker] = []
        self.routes: set[ShadowRoute] = set(self.scene.mirror.routes.values())
        self.open: list[tuple[Worker, int]] = []
        self.sent: dict[Worker, int] = {}
        self.nowhere = 0
        """Copies for a route that is gone: nothing is found of them."""
        self.seconds = 0.0
        self.turn = 0

    # Who something happens to

    def worker(self) -> Worker | None:
        self.turn += 1
        return self.workers[self.turn % len(self.workers)] if self.workers else None

    def origin(self) -> End | None:
        alive = [origin for origin in self.scene.origins if not origin.closed]
        self.turn += 1
        return alive[-1 if self.turn % 3 else 0] if alive else None

    # What happens

    def act(self, event: str) -> None:
        scene = self.scene
        origin = self.origin()
        if event.startswith(("copy", "body")):
            self.copy(event)
        elif event.startswith("answered") or event == "gone":
            self.end(event)
        elif event in ANSWERS and origin is not None:
            origin.send(ANSWERS[event])
        elif event == "closes" and origin is not None:
            origin.finish()
        elif event == "resets" and origin is not None:
            origin.reset()
        elif event in ("connect", "refuse") and scene.dials:
            scene.refusing = {NEXT, CONTROL, BLUE} if event == "refuse" else set()
            scene.connect()
            scene.refusing = set()
        elif event in ("compared", "undecided") and scene.differs.jobs:
            answers, done = scene.differs.jobs.pop(0)
            noise = ["$.b"] if len(answers) > 2 and answers[2] is not None else None
            done(Compared("too_deep") if event == "undecided" else compared([f"$.a{self.turn}"], noise))
        elif event in ("busy", "idle"):
            scene.differs.busy = event == "busy"
        elif event in ("time", "idle long"):
            self.seconds += 6.0 if event == "time" else 60.0
            scene.pass_time(self.seconds)
        elif event == "reported":
            scene.mirror.reports(0.0)
            scene.mirror.reported()
        elif event == "join":
            self.workers.append(scene.worker())
        elif event == "leave" and self.workers:
            worker = self.workers.pop()
            self.lost.append(worker)
            self.open = [(of, number) for of, number in self.open if of is not worker]
            worker.lose()
        elif event == "flush":
            scene.mirror.flush()
        else:
            self.change(event)
        scene.settle()

    def copy(self, event: str) -> None:
        worker = self.worker()
        if worker is None:
            return
        method = {"copy of HEAD": b"HEAD", "copy of POST": b"POST"}.get(event, b"GET")
        body = b"x" * 3000 if event.startswith("body") else b"abc" if method == b"POST" else b""
        lines = [b"Content-Length: %d\r\n" % len(body)] if body else []
        is_compared = event != "copy of another's"
        if "shop" not in self.scene.mirror.routes:
            self.nowhere += 1
        number = worker.request(head(method, *lines), body, compared=is_compared)
        self.sent[worker] = self.sent.get(worker, 0) + 1
        if is_compared:
            self.open.append((worker, number))

    def end(self, event: str) -> None:
        if not self.open:
            return
        worker, number = self.open.pop(self.turn % len(self.open))
        if event == "gone":
            worker.gone(number, Drop.BODY_TOO_LARGE)
        else:
            bodies = {"answered": b"ok", "answered otherwise": b"other", "answered too much": b"x" * 1900}
            worker.answer(number, bodies[event])

    def change(self, event: str) -> None:
        scene, live = self.scene, {"shop": Live()}
        if event == "route gone":
            scene.mirror.adopt(snapshot_of({}, {"another": {"endpoints": [OTHER]}, "blue": UPSTREAMS["blue"]}), live)
        elif event == "route back":
            scene.adopt()
        elif event == "moved":
            scene.mirror.adopt(snapshot_of({"shadow": scene.shadow}, MOVED), live)
        elif event == "small":
            scene.adopt(max_body=1)
        elif event == "no control":
            scene.adopt(control=None)
        self.routes |= set(scene.mirror.routes.values())

    # What holds always

    def check(self) -> None:
        for worker in self.workers:
            assert worker.link._given.get("shop", 0) == worker.credits() + len(worker.link.pairs)
        assert self.scene.mirror._comparisons._allowance._out <= len(self.scene.mirror._calls)
        for origin in self.scene.origins:
            assert origin.url != OTHER
            sent = bytes(origin.transport.out)
            assert b"authorization" not in sent.lower()
            assert b"cookie" not in sent.lower()
            assert sent.count(b" /orders/17 HTTP/1.1\r\n") == sent.count(b"\r\nX-Headgate-Shadow: 1\r\n")
            if origin.url == BLUE:
                assert b"POST" not in sent

    def wind_up(self) -> None:
        """Everything that can still come has come."""
        scene = self.scene
        for worker, number in self.open:
            worker.gone(number)
        scene.differs.busy = False
        for _ in range(3):
            while scene.dials:
                scene.connect()
            self.act("idle long")
            while scene.differs.jobs:
                self.act("compared")
        self.act("reported")


@settings(max_examples=600)
@given(st.lists(EVENTS, max_size=24), st.booleans(), st.sampled_from(["0%", "50%", "100%"]), st.booleans())
@example(["copy", "answered", "same", "same"], False, "100%", False)  # stable answers, asked again
def test_each_copy_is_counted_once_and_nothing_is_left_over(
    events: list[str], control: bool, sample: str, hold: bool
) -> None:
    world = World(control, sample, hold)
    hub = world.scene.mirror
    for event in events:
        world.act(event)
        world.check()
    world.wind_up()
    world.check()
    assert sum(found(route) for route in world.routes) == sum(world.sent.values()) - world.nowhere
    assert [route.uncounted for route in world.routes if route.uncounted] == []
    assert not hub._calls
    assert hub._comparisons._allowance._out == 0
    assert world.budget._left == 2000
    for worker in [*world.workers, *world.lost]:
        assert worker.link.pairs == {}
    if "shop" in hub.routes:
        for worker in world.workers:
            assert worker.through() == world.sent.get(worker, 0)
        limit = int(hub.routes["shop"].window.limit)  # or nothing, where it rests
        assert not world.workers or sum(worker.credits() for worker in world.workers) in (limit, 0)
    assert not any(pool.load for pool in hub.upstreams.all())
    assert all(origin.closed for origin in world.scene.origins), "a connection in no list"


def test_bound_on_bytes_is_that_of_the_process() -> None:
    assert Shadows().mirror._budget._left == mirror.MAX_HELD
