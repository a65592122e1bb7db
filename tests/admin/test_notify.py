"""Notifications on their way: how they look, and what becomes of them with receivers that fail in every way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from admin.logs import Logger
from admin.notify.message import Message, of_rollout
from admin.notify.notifier import Notifier
from admin.notify.policy import Attempt, Fate, Pace, retry_after
from admin.notify.posting import post, signature
from admin.notify.sender import MOST_QUEUED
from admin.notify.shapes import body_of
from admin.rollout.actions import Event
from routing.check_notifications import PLACEHOLDERS
from routing.config_notifications import Notification
from tests.admin.receiver import Receiver, receiving, until
from tests.rollout.plans import WORSE, Driven, canary

AT_ONCE = Pace(first=0.0, longest=0.0, attempts=3)
LATER = Pace(first=3600.0, longest=3600.0, age=1e9)


class Lines:
    """Counts what is logged."""

    def __init__(self) -> None:
        self.warnings: list[dict[str, Any]] = []
        self.infos: list[dict[str, Any]] = []

    def warning(self, event: str, **about: Any) -> None:
        self.warnings.append(about)

    def info(self, event: str, **about: Any) -> None:
        self.infos.append(about)


def message(sentence: str = "admin cut back shop", event: str = "cutback", route: str = "shop", **more: Any) -> Message:
    return Message(event, "2026-03-01T09:30:00.123Z", "admin", "SHOP-1", sentence, (route,), "gw1", 8, **more)


def target(receiver: Receiver, **keys: Any) -> Notification:
    return Notification.model_validate({"url": receiver.url, **keys})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def lines() -> Lines:
    return Lines()


async def notifying(lines: Lines, *targets: Notification, pace: Pace = AT_ONCE) -> Notifier:
    logger: Logger = lines  # type: ignore[assignment]
    notifier = Notifier(logger, pace)
    notifier.adopt(targets)
    return notifier


def fates(notifier: Notifier) -> dict[Fate, int]:
    return {fate: count for fate, count in notifier.fates.items() if count}


# Policy


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.SENT),
        (202, Fate.SENT),
        (204, Fate.SENT),
        (301, Fate.REFUSED),
        (400, Fate.REFUSED),
        (404, Fate.REFUSED),
        (410, Fate.REFUSED),
        (408, None),
        (429, None),
        (500, None),
        (503, None),
        (0, None),
    ],
)
def test_a_status_says_whether_another_attempt_is_worth_it(status: int, fate: Fate | None) -> None:
    assert Attempt(status).fate is fate


def test_pauses_double_up_to_the_longest_and_are_shortened_by_half_at_most() -> None:
    pace, failed = Pace(), Attempt(500)
    assert [pace.pause(made, 0.0, failed, 0.0) for made in (1, 2, 3, 9, 10, 19)] == [1, 2, 4, 256, 300, 300]
    assert [pace.pause(made, 0.0, failed, 1.0) for made in (1, 2, 10)] == [0.5, 1, 150]


def test_after_so_many_attempts_or_such_a_time_there_is_no_other() -> None:
    pace, failed = Pace(), Attempt(500)
    assert pace.pause(20, 0.0, failed, 0.0) is None
    assert pace.pause(1, 3599.0, failed, 0.0) == 1
    assert pace.pause(1, 3599.5, failed, 0.0) is None


def test_retry_after_is_waited_for_where_it_is_longer_than_the_pause() -> None:
    pace = Pace()
    assert pace.pause(1, 0.0, Attempt(429, retry_after=30.0), 0.0) == 30
    assert pace.pause(6, 0.0, Attempt(429, retry_after=30.0), 0.0) == 32
    assert pace.pause(1, 0.0, Attempt(429, retry_after=3601.0), 0.0) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("120", 120),
        (" 7 ", 7),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
        ("1" * 5000, 111_111_111),
        ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 +99999999999999999999", 0),
        ("", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float) -> None:
    assert retry_after(text, 784111747.0) == seconds


# Shapes


def rollout_message() -> Message:
    driven = Driven(canary())
    driven.run(3)
    driven.see(WORSE)
    return of_rollout(driven.state, Event.CUT_BACK, "gw1", 9, "http://127.0.0.1:9901")


def test_generic_has_everything_and_the_rollout_as_the_api_has_it() -> None:
    found = json.loads(body_of("generic", rollout_message(), "d1", None))
    assert (found["id"], found["event"], found["route"], found["routes"]) == (
        "d1",
        "rollout.cut_back",
        "shop",
        ["shop"],
    )
    assert (found["who"], found["node"], found["revision"]) == ("rollout shop#1", "gw1", 9)
    assert (found["rollout"]["state"], found["rollout"]["step"], found["rollout"]["verdict"]) == (
        "cut_back",
        1,
        "regression",
    )
    assert found["sentence"] == found["text"]
    assert found["sentence"].startswith(
        "shop: the rollout to canary was cut back at step 1 of 3 (weight 5 %): canary 5xx"
    )
    assert found["links"]["route"] == "http://127.0.0.1:9901/v1/routes/shop/rollout"


def test_every_event_of_a_rollout_has_a_sentence() -> None:
    state = Driven(canary()).state
    told = {event: of_rollout(state, event, "gw1", 1, "") for event in Event}
    assert len({each.sentence for each in told.values()}) == len(Event)
    assert {each.event for each in told.values()} == {f"rollout.{event.value}" for event in Event}


def test_slack_gets_text_and_blocks_that_call_nobody() -> None:
    found = json.loads(body_of("slack", message("<!channel> a & b"), "d1", None))
    assert found["text"] == "&lt;!channel&gt; a &amp; b"
    assert found["blocks"][0]["text"] == {"type": "mrkdwn", "text": ":red_circle: &lt;!channel&gt; a &amp; b"}
    longest = json.loads(body_of("slack", message("<" * 10_000), "d1", None))
    assert len(longest["blocks"][0]["text"]["text"]) <= 3000


def test_teams_gets_an_adaptive_card_in_a_message() -> None:
    found = json.loads(body_of("teams", message("**bold** [a](http://b)"), "d1", None))
    (attachment,) = found["attachments"]
    assert (found["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"][0]["inlines"][0]["text"] == "**bold** [a](http://b)"
    assert len(body_of("teams", message("ü" * 10_000), "d1", None)) < 28_000


@pytest.mark.parametrize("about", [message(), rollout_message()])
def test_a_template_may_use_every_placeholder(about: Message) -> None:
    template = " ".join(f"{name}={{{name}}}" for name in PLACEHOLDERS)
    text = json.loads(body_of("generic", about, "d1", template))["text"]
    assert text.startswith(f"event={about.event} route=shop sentence={about.sentence}")
    assert ("state=cut_back step=1 steps=3 weight=0.0" in text) is (about.rollout is not None)


# Delivery


async def test_a_notification_arrives_once_and_signed(receiver: Receiver, lines: Lines) -> None:
    notifier = await notifying(lines, target(receiver, secret="0123"))
    notifier.tell(message())
    (got,) = await receiver.wait(1)
    await notifier.close(5.0)
    assert fates(notifier) == {Fate.SENT: 1}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-headgate-event"] == "cutback"
    assert got.headers["x-headgate-delivery"] == got.json["id"]
    signed = got.headers["x-headgate-signature"]
    assert signed == signature("0123", got.body, int(signed.split(",")[0].removeprefix("t=")))
    assert (lines.warnings, lines.infos) == ([], [])


async def test_without_a_secret_nothing_is_signed(receiver: Receiver, lines: Lines) -> None:
    notifier = await notifying(lines, target(receiver))
    notifier.tell(message())
    (got,) = await receiver.wait(1)
    assert "x-headgate-signature" not in got.headers
    await notifier.close(5.0)


@pytest.mark.parametrize("failure", [500, 503, 429, 408, 0])
async def test_what_may_pass_is_tried_again_with_the_same_id_and_body(
    failure: int, receiver: Receiver, lines: Lines
) -> None:
    receiver.answers.extend((failure, failure))
    notifier = await notifying(lines, target(receiver))
    notifier.tell(message())
    got = await receiver.wait(3)
    await until(lambda: notifier.pending == 0)
    assert fates(notifier) == {Fate.SENT: 1}
    assert len({(each.headers["x-headgate-delivery"], each.body) for each in got}) == 1
    assert (len(lines.warnings), len(lines.infos)) == (1, 1)
    assert "very-secret" not in str(lines.warnings)
    await notifier.close(0.0)


async def test_whatever_goes_wrong_in_an_attempt_the_receiver_is_tried_again(
    receiver: Receiver, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [RuntimeError("broken")]

    async def broken_at_first(*arguments: Any) -> Attempt:
        if left:
            raise left.pop()
        return await post(*arguments)

    monkeypatch.setattr("admin.notify.notifier.post", broken_at_first)
    notifier = await notifying(lines, target(receiver))
    notifier.tell(message())
    await receiver.wait(1)
    await until(lambda: notifier.pending == 0)
    assert fates(notifier) == {Fate.SENT: 1}
    assert lines.warnings[0]["why"] == "RuntimeError"
    await notifier.close(0.0)


async def test_attempts_end(receiver: Receiver, lines: Lines) -> None:
    receiver.answers.extend([500] * 3)
    notifier = await notifying(lines, target(receiver))
    notifier.tell(message("first"))
    notifier.tell(message("second"))
    await receiver.wait(4)
    await until(lambda: notifier.pending == 0)
    assert receiver.sentences == ["first", "first", "first", "second"]
    assert fates(notifier) == {Fate.EXPIRED: 1, Fate.SENT: 1}
    await notifier.close(0.0)


async def test_a_receiver_that_hangs_is_given_up_and_tried_again(receiver: Receiver, lines: Lines) -> None:
    receiver.hold.clear()
    notifier = await notifying(lines, target(receiver, timeout=0.05))
    notifier.tell(message())
    await receiver.wait(3)
    await until(lambda: notifier.pending == 0)
    assert fates(notifier) == {Fate.EXPIRED: 1}
    assert [each["why"] for each in lines.warnings] == ["no answer within 0.05 s"]
    await notifier.close(0.0)


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_a_refusal_is_final_and_the_next_goes_on(status: int, receiver: Receiver, lines: Lines) -> None:
    receiver.answers.append(status)
    notifier = await notifying(lines, target(receiver))
    notifier.tell(message("first"))
    notifier.tell(message("second"))
    await receiver.wait(2)
    await until(lambda: notifier.pending == 0)
    assert receiver.sentences == ["first", "second"]
    assert fates(notifier) == {Fate.REFUSED: 1, Fate.SENT: 1}
    await notifier.close(0.0)


async def test_a_redirect_is_not_followed(receiver: Receiver, lines: Lines) -> None:
    async with receiving() as elsewhere:
        receiver.answers.append(web.Response(status=307, headers={"Location": elsewhere.url}))
        notifier = await notifying(lines, target(receiver))
        notifier.tell(message())
        await until(lambda: notifier.pending == 0)
        assert (fates(notifier), elsewhere.got) == ({Fate.REFUSED: 1}, [])
        await notifier.close(0.0)


async def test_a_wait_that_is_longer_than_it_lives_ends_it(receiver: Receiver, lines: Lines) -> None:
    receiver.answers.append(web.Response(status=429, headers={"Retry-After": "3700"}))
    notifier = await notifying(lines, target(receiver), pace=Pace())
    notifier.tell(message())
    await until(lambda: notifier.pending == 0)
    assert (fates(notifier), len(receiver.got)) == ({Fate.EXPIRED: 1}, 1)
    await notifier.close(0.0)


async def test_a_receiver_that_is_not_there_is_a_failure_that_names_no_path(lines: Lines) -> None:
    async with receiving() as gone:
        there = target(gone)
    notifier = await notifying(lines, there)
    notifier.tell(message())
    await until(lambda: notifier.pending == 0)
    assert fates(notifier) == {Fate.EXPIRED: 1}
    (line,) = lines.warnings
    assert "Connect call failed" in line["why"]
    assert "very-secret" not in str(line)
    await notifier.close(0.0)


async def test_a_full_queue_loses_the_oldest_that_waits_and_keeps_the_order(receiver: Receiver, lines: Lines) -> None:
    receiver.hold.clear()
    notifier = await notifying(lines, target(receiver))
    notifier.tell(message("0"))
    await receiver.wait(1)
    for number in range(1, MOST_QUEUED + 3):
        notifier.tell(message(str(number)))
    assert (notifier.pending, fates(notifier)) == (MOST_QUEUED, {Fate.QUEUE_FULL: 3})
    receiver.hold.set()
    await receiver.wait(MOST_QUEUED)
    await until(lambda: notifier.pending == 0)
    assert receiver.sentences == ["0", *(str(number) for number in range(4, MOST_QUEUED + 3))]
    assert fates(notifier) == {Fate.QUEUE_FULL: 3, Fate.SENT: MOST_QUEUED}
    await notifier.close(0.0)


async def test_one_receiver_that_fails_holds_no_other_up(receiver: Receiver, lines: Lines) -> None:
    async with receiving() as hanging:
        hanging.hold.clear()
        notifier = await notifying(lines, target(hanging), target(receiver))
        notifier.tell(message())
        await receiver.wait(1)
        await until(lambda: notifier.pending == 1)
        await notifier.close(0.0)
        assert fates(notifier) == {Fate.SENT: 1, Fate.STOPPED: 1}


async def test_receivers_hear_of_their_events_and_routes_only(receiver: Receiver, lines: Lines) -> None:
    notifier = await notifying(lines, target(receiver, events=["cutback", "config"], routes=["shop"]))
    notifier.tell(message("no", event="restore"))
    notifier.tell(message("nor this", route="api"))
    notifier.tell(Message("config", "", "admin", "", "about no route", (), "gw1", 1))
    notifier.tell(Message("cutback", "", "admin", "", "all", ("api", "shop"), "gw1", 1))
    await receiver.wait(1)
    await notifier.close(5.0)
    assert (receiver.sentences, fates(notifier)) == (["all"], {Fate.SENT: 1})


async def test_a_reload_keeps_what_is_queued_for_receivers_that_stay(receiver: Receiver, lines: Lines) -> None:
    async with receiving() as leaving:
        receiver.hold.clear()
        leaving.hold.clear()
        notifier = await notifying(lines, target(receiver), target(leaving))
        for text in ("first", "second"):
            notifier.tell(message(text))
        await receiver.wait(1)
        await leaving.wait(1)
        notifier.adopt((target(receiver, template="now {sentence}", secret="0123"),))
        notifier.tell(message("third"))
        receiver.hold.set()
        got = await receiver.wait(3)
        await notifier.close(5.0)
    assert [each.json["text"] for each in got] == ["first", "second", "now third"]
    assert ["x-headgate-signature" in each.headers for each in got] == [False, True, True]
    assert fates(notifier) == {Fate.SENT: 3, Fate.REMOVED: 2}


async def test_the_end_does_not_wait_behind_what_has_failed(receiver: Receiver, lines: Lines) -> None:
    receiver.answers.append(500)
    notifier = await notifying(lines, target(receiver), pace=LATER)
    notifier.tell(message("fails"))
    await receiver.wait(1)
    await until(lambda: lines.warnings != [])
    notifier.tell(message("waits behind it"))
    await notifier.close(3600.0)
    assert fates(notifier) == {Fate.STOPPED: 2}


async def test_the_end_waits_for_what_was_not_tried_and_not_for_what_has_failed(
    receiver: Receiver, lines: Lines
) -> None:
    async with receiving() as failing:
        failing.answers.append(500)
        notifier = await notifying(lines, target(failing), target(receiver), pace=LATER)
        notifier.tell(message())
        await notifier.close(3600.0)
    assert len(receiver.got) == 1
    assert fates(notifier) == {Fate.SENT: 1, Fate.STOPPED: 1}
    assert lines.warnings[-1] == {"dropped": 1}
