"""What a test sets up, and takes down again whatever happens: origins, gateways, other processes."""

from __future__ import annotations

import contextlib
import itertools
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.gateway import Document, Gateway, document
from tests.support.origin import Deaf, Origin, Refusing, Script, serving

GATEWAYS: list[Gateway] = []
"""Those that are set up at the moment, for the report of a failure."""


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        self._events: list[threading.Event] = []
        self.closing = contextlib.ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for event in self._events:
            event.set()
        self.closing.close()

    def event(self) -> threading.Event:
        """For scripts to wait for; set at the end before anything is closed, so that no failure leaves one waiting."""
        self._events.append(event := threading.Event())
        return event

    def origin(
        self,
        script: str | Script = "blue",
        *,
        unix: Path | None = None,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int = 0,
    ) -> Origin:
        """A name stands for an upstream that answers with it."""
        script = serving(script) if isinstance(script, str) else script
        origin = Origin(script, unix=unix, tls=tls, receive_buffer=receive_buffer)
        self.closing.callback(origin.close)
        return origin

    def deaf(self) -> Deaf:
        self.closing.callback((own := Deaf()).close)
        return own

    def refusing(self) -> Refusing:
        self.closing.callback((own := Refusing()).close)
        return own

    def gateway(self, settings: Document, environ: Mapping[str, str] | None = None) -> Gateway:
        """Not started."""
        folder = self.folder / f"gateway{next(self._numbers)}"
        folder.mkdir()
        gateway = Gateway(folder, settings, environ)
        GATEWAYS.append(gateway)
        self.closing.callback(GATEWAYS.remove, gateway)
        self.closing.callback(gateway.close)
        return gateway

    def running(self, upstreams: Mapping[str, Any], route: Mapping[str, Any] | None = None, **top: Any) -> Gateway:
        """A gateway with this configuration (see `document`), serving."""
        return self.gateway(document(upstreams, route, **top)).start()
