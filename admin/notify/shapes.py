"""A message as each kind of receiver takes it.

`slack`: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, with `text` for what shows no blocks.
`teams`: an Adaptive Card in a message, which the webhooks of Workflows take; the older MessageCard they do not.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from admin.notify.message import Message

_LONGEST = 2500
"""Characters of a text: Slack takes 3000 in a section before it is escaped, Teams 28 KB in all."""
_LONGEST_ESCAPED = 3000

Kind = Literal["generic", "slack", "teams"]


def body_of(kind: Kind, message: Message, delivery: str, template: str | None) -> bytes:
    text = text_of(message, template)
    if kind == "slack":
        return orjson.dumps(_slack(message, text))
    if kind == "teams":
        return orjson.dumps(_teams(message, text))
    return orjson.dumps(_generic(message, text, delivery))


def text_of(message: Message, template: str | None) -> str:
    """The sentence, or the template with its placeholders filled; what a message does not have is empty."""
    if template is None:
        return _cut(message.sentence, _LONGEST)
    rollout = message.rollout or {}
    found = {
        "event": message.event,
        "route": ", ".join(message.routes),
        "sentence": message.sentence,
        "reason": message.reason,
        "who": message.who,
        "at": message.at,
        "node": message.node,
        "url": message.links.get("route", message.links.get("admin", "")),
        "revision": message.revision,
        **{key: rollout.get(key, "") for key in ("state", "step", "steps", "weight", "verdict")},
    }
    return _cut(template.format_map(found), _LONGEST)


def _generic(message: Message, text: str, delivery: str) -> dict[str, Any]:
    return {
        "id": delivery,
        "event": message.event,
        "at": message.at,
        "who": message.who,
        "reason": message.reason,
        "sentence": message.sentence,
        "text": text,
        "route": message.route,
        "routes": list(message.routes),
        "weights": message.weights,
        "rollout": message.rollout,
        "revision": message.revision,
        "node": message.node,
        "links": dict(message.links),
    }


def _slack(message: Message, text: str) -> dict[str, Any]:
    written = _escaped(text)
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"{_sign(message)} {written}"}},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(_about(message))}]},
    ]
    return {"text": written, "blocks": blocks}


def _escaped(text: str) -> str:
    """Slack's three, without which a reason could call a whole channel. Cut between characters, not within `&amp;`."""
    found, length = [], 0
    for character in text:
        part = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, character)
        length += len(part)
        if length > _LONGEST_ESCAPED - 40:
            found.append("…")
            break
        found.append(part)
    return "".join(found)


def _teams(message: Message, text: str) -> dict[str, Any]:
    facts = [("Event", message.event), ("By", message.who), ("At", message.at), ("Gateway", message.node)]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [
            # A text run, since a text block would read what people write as Markdown.
            {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, "weight": "Bolder"}]},
            {"type": "FactSet", "facts": [{"title": title, "value": _cut(value, 200)} for title, value in facts]},
        ],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _sign(message: Message) -> str:
    if message.event in ("rollout.cut_back", "rollout.regression", "cutback"):
        return ":red_circle:"
    if message.event in ("rollout.promoted", "restore"):
        return ":large_green_circle:"
    return ":large_yellow_circle:"


def _about(message: Message) -> str:
    return _cut(f"{message.event} · {message.who} · {message.at} · {message.node}", 500)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
