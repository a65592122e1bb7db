"""One call of the API: reading its body, query and conditions, and answering it."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from admin.api.problems import ProblemError, of_validation
from admin.audit import Intent
from admin.auth import Principal
from admin.context import Context

BODY_LIMIT = 1024 * 1024
CONFIG_LIMIT = 16 * 1024 * 1024
BODY_TIMEOUT = 15.0

HEADERS = {
    "Server": "headgate",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Of every answer."""

_ETAG = re.compile(r'"?([0-9]{1,18})"?')
_JSON = frozenset({"application/json"})
# What a body is called by a client that does not say what it is: no header at all, or the one `curl -d` sends by itself.
_UNSAID = frozenset({"application/octet-stream", "application/x-www-form-urlencoded"})
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reply:
    """`revision` becomes the ETag."""

    body: BaseModel
    status: int = 200
    revision: int | None = None

    def response(self) -> web.Response:
        headers = {} if self.revision is None else {"ETag": f'"{self.revision}"'}
        return web.Response(
            status=self.status,
            body=orjson.dumps(self.body.model_dump(mode="json")),
            content_type="application/json",
            headers=headers,
        )


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is no JSON made of a model."""

    body: bytes
    content_type: str
    revision: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        tag = {} if self.revision is None else {"ETag": f'"{self.revision}"'}
        return web.Response(body=self.body, headers={"Content-Type": self.content_type, **tag, **self.headers})


@dataclass(slots=True)
class Call:
    request: web.Request
    context: Context
    principal: Principal

    @property
    def route(self) -> str:
        return self.request.match_info["route"]

    def parameters(self, model: type[M]) -> M:
        """The query. A name given twice is refused: which one is meant?"""
        found: dict[str, str] = {}
        for name, value in self.request.query.items():
            if name in found:
                raise ProblemError(422, f"{name} is given twice", [{"field": name, "message": "given twice"}])
            found[name] = value
        return _validated(model, found)

    async def body(self, model: type[M]) -> M:
        """A JSON body; where every field is optional, none at all will do."""
        raw = await self.read(_JSON, BODY_LIMIT)
        return _validated(model, _parse(raw) if raw.strip() else {})

    async def read(self, types: frozenset[str], limit: int) -> bytes:
        request = self.request
        chunks = bytearray()
        if request.body_exists and (request.content_length or 0) > limit:
            raise ProblemError(413, f"at most {limit} bytes are taken here")
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for chunk in request.content.iter_any():
                    chunks += chunk
                    if len(chunks) > limit:
                        raise ProblemError(413, f"at most {limit} bytes are taken here")
        except TimeoutError as error:
            raise ProblemError(408, f"the body did not come within {BODY_TIMEOUT:.0f} s") from error
        except web.RequestPayloadError as error:
            raise ProblemError(400, "the body is not encoded as its header says") from error
        if chunks.strip() and request.content_type not in types | _UNSAID:
            raise ProblemError(
                415, f"Content-Type must be {' or '.join(sorted(types))}", headers={"Accept": ", ".join(sorted(types))}
            )
        return bytes(chunks)

    def intent(self, action: str, reason: str, *, dry_run: bool) -> Intent:
        return Intent(self.principal.name, action, reason, self._if_match(), dry_run)

    def _if_match(self) -> frozenset[int] | None:
        """RFC 9110 section 13.1.1. What is no revision of ours (a weak tag, another server's) matches nothing."""
        lines = self.request.headers.getall("If-Match", [])
        tags = [tag.strip() for line in lines for tag in line.split(",") if tag.strip()]
        if not lines or tags == ["*"]:
            return None
        return frozenset(int(match[1]) for tag in tags if (match := _ETAG.fullmatch(tag)))


def _validated(model: type[M], value: object) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise of_validation(error) from error


def _parse(raw: bytes) -> Any:
    """JSON as Python's own parser takes it: NaN and Infinity come through, so that the field they are in can be named."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ProblemError(400, "the body has a key twice")
        return members

    try:
        found = json.loads(raw.decode(), object_pairs_hook=unique)
        if b"\\u" in raw:
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError as error:  # no answer and no log could repeat it
        raise ProblemError(400, "the body has half of a surrogate pair, which is no character") from error
    except RecursionError as error:
        raise ProblemError(400, "the body is nested too deeply") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ProblemError(400, f"the body is not valid JSON: {error}") from error
