"""The identity provider's keys (JWKS, RFC 7517), from an address or a file.

Rules. Nothing is fetched before a token asks for a key. Of an address, keys that are older than five minutes are fetched anew in
the background, and at once where a token names one that is not there, at most every 30 s, whoever asks. A file is looked at for
each token, and read where it was replaced. While keys can't be had, the last good ones hold, for a day.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiohttp

from admin.logs import Logger
from proxy.tasks import spawn

if TYPE_CHECKING:
    from admin.jose import SigningKey

_HOLD = 86_400.0  # seconds
_LONGEST = 1024 * 1024  # bytes
_TIMEOUT = 5.0  # seconds


class NoKeysError(Exception):
    """There are none at present, so no token can be judged."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: after which keys are asked for anew, and the least between two attempts, with and without keys at hand."""

    fresh: float
    again: float
    first: float


class Source(Protocol):
    name: str
    pace: Pace

    async def read(self) -> bytes | None:
        """None: as before. Raises OSError, ValueError, aiohttp.ClientError."""


class JwksAddress:
    def __init__(self, url: str) -> None:
        self.name = url
        self.pace = Pace(300.0, 30.0, 5.0)

    async def read(self) -> bytes | None:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        headers = {"Accept": "application/jwk-set+json, application/json"}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(self.name, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"the answer is {response.status}")
            found = bytearray()
            async for chunk in response.content.iter_any():
                found += chunk
                if len(found) > _LONGEST:
                    raise ValueError(f"the answer has more than {_LONGEST} bytes")
            return bytes(found)


class JwksFile:
    def __init__(self, path: str) -> None:
        self.name = path
        self.pace = Pace(0.0, 0.0, 0.0)
        self._seen: tuple[int, int, int] | None = None

    async def read(self) -> bytes | None:
        path = Path(self.name)
        try:
            stat = os.stat(path)
            signature = stat.st_mtime_ns, stat.st_size, stat.st_ino
            if signature == self._seen:
                return None
            if stat.st_size > _LONGEST:
                raise ValueError(f"the file has more than {_LONGEST} bytes")
            raw = await asyncio.to_thread(path.read_bytes)
        except OSError:
            self._seen = None
            raise
        self._seen = signature
        return raw


def source_of(jwks: str) -> Source:
    return JwksAddress(jwks) if jwks.startswith(("http://", "https://")) else JwksFile(jwks)


class Keys:
    """`failures` counts the attempts to get them that failed."""

    def __init__(self, source: Source, log: Logger, clock: Callable[[], float]) -> None:
        self._source = source
        self._log = log
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._good_at = float("-inf")
        self._tried_at = float("-inf")
        self._failing = False
        self._loading: asyncio.Task[None] | None = None
        self.failures = 0

    async def find(self, kid: str | None, algorithm: str) -> SigningKey | None:
        """None where there is no such key. Without a `kid` it is the only one that fits. Raises NoKeysError."""
        pace = self._source.pace
        if not self._hold():
            await self._load(pace.first)
            if not self._hold():
                raise NoKeysError
        elif self._clock() - self._good_at >= pace.fresh:
            task = self._begin(pace.again)
            if task is not None and isinstance(self._source, JwksFile):
                await asyncio.wait([task])
        found = self._among(kid, algorithm)
        if found is None:
            await self._load(pace.again)
            found = self._among(kid, algorithm)
        return found

    def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()

    def _hold(self) -> bool:
        return bool(self._keys) and self._clock() - self._good_at < _HOLD

    def _among(self, kid: str | None, algorithm: str) -> SigningKey | None:
        fitting = [each for each in self._keys if each.fits(algorithm) and kid in (None, each.kid)]
        return fitting[0] if len(fitting) == 1 else None

    async def _load(self, least: float) -> None:
        """Waits for the attempt under way, or for one of its own; for none where the last was less than that long ago."""
        task = self._begin(least)
        if task is not None:
            await asyncio.wait([task])

    def _begin(self, least: float) -> asyncio.Task[None] | None:
        if self._loading is not None and not self._loading.done():
            return self._loading
        if self._clock() - self._tried_at < least:
            return None
        self._tried_at = self._clock()
        self._loading = spawn(self._read(), "jwks", lambda error: self._log.error("jwks", error=repr(error)))
        return self._loading

    async def _read(self) -> None:
        try:
            raw = await self._source.read()
            keys = self._keys if raw is None else await asyncio.to_thread(_keys_of, raw)
        except (OSError, ValueError, aiohttp.ClientError) as error:
            self.failures += 1
            if not self._failing:
                why = str(error) or type(error).__name__
                self._log.error("keys of the identity provider cannot be had", jwks=self._source.name, error=why)
            self._failing = True
            return
        if raw is None and self._failing:  # the file is as it was when it could not be used
            return
        if self._failing:
            self._log.info("keys of the identity provider can be had again", jwks=self._source.name)
        self._keys, self._good_at, self._failing = keys, self._clock(), False


def _keys_of(raw: bytes) -> tuple[SigningKey, ...]:
    from admin.jose import keys_of  # joserfc: a sixth of a second

    return keys_of(raw)
