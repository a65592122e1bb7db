"""Calls that answer something else than JSON of a model: metrics, openapi.json, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import orjson

from admin.api.call import Call, Raw
from admin.api.models import NoQuery

_STATIC = Path(__file__).parent / "static"
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def get_metrics(call: Call) -> Raw:
    from admin.metrics import CONTENT_TYPE, exposition

    return Raw(exposition(call.context.registry()), CONTENT_TYPE)


async def get_openapi(call: Call) -> Raw:
    from admin.api.openapi import openapi  # it describes this module's calls too

    call.parameters(NoQuery)
    return Raw(orjson.dumps(openapi(call.context.version)), "application/json")


async def get_docs(call: Call) -> Raw:
    return _page("docs.html", "text/html; charset=utf-8")


async def get_docs_script(call: Call) -> Raw:
    return _page("docs.js", "text/javascript; charset=utf-8")


async def get_docs_style(call: Call) -> Raw:
    return _page("docs.css", "text/css; charset=utf-8")


def _page(name: str, content_type: str) -> Raw:
    return Raw((_STATIC / name).read_bytes(), content_type, headers={"Content-Security-Policy": _CSP})
