"""Serving the API: the socket, the first token, and the files by which the commands find both."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from pathlib import Path

from aiohttp import web

from admin.api.app import make_app
from admin.api.configuration import reload_file
from admin.audit import HEADS_EVERY, note_heads
from admin.auth import bootstrap, write_private
from admin.context import Context
from admin.diffs import Diffs
from admin.jwks import Keys, source_of
from admin.logs import Logger
from admin.notify.news import News
from admin.oidc import Provider
from admin.rates import Rates
from admin.rollout.loop import Rollouts
from admin.startup import Settings, Started
from admin.state.opening import kept_aside
from admin.state.store import StoreError, StoreUnusableError
from proxy.tasks import spawn
from routing.config_admin import Admin

URL_FILE = "admin.url"
# Tokens of identity providers that list the groups of somebody who is in many.
_LONGEST_FIELD = 32 * 1024


class ServeError(Exception):
    """The API can't start; the message is one line for people."""


class Server:
    def __init__(self, context: Context, runner: web.AppRunner, tls: ssl.SSLContext | None) -> None:
        self.context = context
        self._runner = runner
        self._tls = tls
        self._stopping = asyncio.Event()
        self._heads = spawn(
            note_heads(context.store, context.log, self._pause),
            "audit heads",
            lambda error: context.log.error("the audit log's heads are no longer in the log", error=repr(error)),
        )

    @classmethod
    async def start(
        cls,
        started: Started,
        settings: Settings,
        rates: Rates,
        diffs: Diffs,
        rollouts: Rollouts,
        news: News,
        log: Logger,
    ) -> Server:
        """Raises ServeError."""
        admin = started.gateway.config.admin
        try:
            tokens = await bootstrap(started.store, started.folder)
        except (StoreError, StoreUnusableError, OSError) as error:
            raise ServeError(f"the admin token cannot be made: {error}") from error
        context = Context(
            started.gateway, started.store, tokens, rates, diffs, rollouts, news, settings, log, _gateway_started()
        )
        context.kept_aside = kept_aside(started.folder)
        if admin.oidc is not None:
            keys = Keys(source_of(admin.oidc.jwks), log, asyncio.get_running_loop().time)
            context.provider = Provider(admin.oidc, keys, log)
        tls = _tls(admin)
        listener = _listen(admin)
        runner = web.AppRunner(
            make_app(context),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            max_field_size=_LONGEST_FIELD,
        )
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=tls).start()
        url = _url(admin, listener)
        write_private(started.folder / URL_FILE, url + "\n")
        news.url = url
        log.info("the admin API serves", url=url)
        return cls(context, runner, tls)

    async def stop(self) -> None:
        """Calls under way get a second; what they have changed is in the journal."""
        self._stopping.set()
        self.context.news.feed.close()
        await self._runner.cleanup()
        await asyncio.wait([self._heads, *self.context.writing], timeout=1.0)
        if self.context.provider is not None:
            self.context.provider.keys.close()

    async def _pause(self) -> bool:
        try:
            async with asyncio.timeout(HEADS_EVERY):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def reload(self) -> None:
        """SIGHUP: the file again, and the API's own certificate. A bad file changes nothing."""
        context = self.context
        await reload_file(context)
        if self._tls is not None:
            try:
                load_certificate(self._tls, context.gateway.running.admin)
            except ServeError as error:
                context.log.error("the admin certificate was not reloaded", error=str(error))


def _gateway_started() -> float:
    """When the supervisor started, which is when the gateway did: this process may be a later one."""
    try:
        fields = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), starttime
    except (OSError, ValueError, IndexError):
        return time.time()


def _listen(admin: Admin) -> socket.socket:
    host, port = admin.address.host, admin.address.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ServeError(
            f"the admin address {admin.address} cannot be used: {os.strerror(error.errno or 0)}"
        ) from error


def _tls(admin: Admin) -> ssl.SSLContext | None:
    if admin.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if admin.tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    load_certificate(context, admin)
    return context


def load_certificate(context: ssl.SSLContext, admin: Admin) -> None:
    """Also into a context in use: new connections get the new certificate. Raises ServeError."""
    assert admin.tls is not None
    try:
        context.load_cert_chain(admin.tls.certificate, admin.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ServeError(f"the admin certificate {admin.tls.certificate} cannot be used: {error}") from error


def _url(admin: Admin, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"{'https' if admin.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
