"""The frames between our processes: any cut of the bytes gives the same messages."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control import (
    MAX_FRAME,
    Ack,
    Cell,
    Channel,
    Decoder,
    Drain,
    Heartbeat,
    InFlight,
    Message,
    Publish,
    Stats,
    encode,
)
from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import Transport
from tests.proxy.streams import cuts

MESSAGES: list[Message] = [
    Heartbeat(),
    Ack(7, {"canary": 3}),
    Publish(8, {"shop": Live((("blue", 1.0),), CutbackMode.CUT)}, b"x" * 3000, InFlight.RETRY),
    Stats(0, [Cell("shop", "blue", {200: 1}, {3: 1}, 0.5)], {("retries", "made"): 2}, {"connections": 1.0}),
    Drain(1.5),
]


@given(st.data(), st.lists(st.sampled_from(MESSAGES), max_size=5))
def test_messages_cut_anywhere_are_the_same(data: st.DataObject, messages: list[Message]) -> None:
    decoder = Decoder()
    parts = data.draw(cuts(b"".join(map(encode, messages))))
    assert [message for part in parts for message in decoder.feed(part)] == messages


def test_frame_longer_than_any_of_ours_is_an_error() -> None:
    with pytest.raises(ValueError, match="a control frame of"):
        Decoder().feed((MAX_FRAME + 1).to_bytes(4, "big"))


def test_channel_delivers_messages_and_its_end_once_and_sends_nothing_after_it() -> None:
    heard: list[object] = []
    channel = Channel(heard.append, lambda: heard.append("lost"))
    transport = Transport(lambda call: call(), ("", 0))
    channel.connection_made(transport)
    channel.send(MESSAGES[1])
    assert Decoder().feed(bytes(transport.out)) == [MESSAGES[1]]
    transport.stuck = True
    channel.send(MESSAGES[0])
    assert channel.backlog == len(encode(MESSAGES[0]))
    channel.data_received(encode(MESSAGES[4]) + encode(MESSAGES[0])[:3])
    channel.connection_lost(None)
    channel.send(MESSAGES[0])
    channel.close()
    assert heard == [MESSAGES[4], "lost"]
    assert channel.backlog == 0
    assert isinstance(channel, asyncio.Protocol)
