"""The command line's way to the admin API: the standard library's HTTP client, because it starts fast.

Where the gateway is, in this order: `--admin`, `--state`'s `admin.url`, HEADGATE_ADMIN, the default state folder's. The
token likewise: `--token`, `--state`'s `admin.token`, HEADGATE_TOKEN, the default folder's. A token found in a folder is
sent to that folder's own gateway, to this machine, or where `--state` was given along with an address: never to another
host by default.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from admin.errors import CommandError

DEFAULT_STATE = "./headgate-state"
# A cutback with a frozen worker takes up to 2.5 s; an answer that takes longer than this is not coming.
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """An admin API. `source` says where the address comes from, `folders_own` that a state folder named it."""

    url: str
    source: str
    token: str = field(default="", repr=False)
    folders_own: bool = False


def find_target(admin: str | None, token: str | None, state: str | None, environ: Mapping[str, str]) -> Target:
    """Raises CommandError where no address is found."""
    target, folder = find_address(admin, state, environ)
    if token:
        return replace(target, token=token)
    from_folder = ""
    if state or target.folders_own or _is_loopback(target.url):
        from_folder = _read(folder / "admin.token")
    from_environ = environ.get("HEADGATE_TOKEN", "")
    if state and not admin:  # the command line is nearer than a variable that was exported some time ago
        return replace(target, token=from_folder or from_environ)
    return replace(target, token=from_environ or from_folder)


def find_address(admin: str | None, state: str | None, environ: Mapping[str, str]) -> tuple[Target, Path]:
    """The target without a token, and the state folder. Raises CommandError where no address is found."""
    folder = Path(state or environ.get("HEADGATE_STATE") or DEFAULT_STATE)
    named = "" if state else environ.get("HEADGATE_ADMIN", "")
    if admin or named:
        return Target((admin or named).rstrip("/"), "--admin" if admin else "HEADGATE_ADMIN"), folder
    url = _read(folder / "admin.url")
    if not url:
        raise CommandError(
            f"no gateway found: no admin.url in {folder}; name one with --state, --admin or HEADGATE_ADMIN"
        )
    return Target(url.rstrip("/"), str(folder / "admin.url"), folders_own=True), folder


def _read(path: Path) -> str:
    """The file's text, stripped; empty where there is none. Raises CommandError where it may not be read."""
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise CommandError(f"cannot read {path}: {reason}") from error


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


class AdminClient:
    """One connection, kept for the whole command. Methods return the decoded JSON or raise CommandError."""

    def __init__(self, target: Target, *, timeout: float = TIMEOUT, verify: bool = True) -> None:
        """With `verify` off any certificate will do. It is always off for the address that a state folder gives on this
        machine: certificates seldom name 127.0.0.1, and nothing is given away there that plain HTTP on it would not."""
        self.target = target
        verify = verify and not (target.folders_own and _is_loopback(target.url))
        parts = urlsplit(target.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"{target.source}: {target.url!r} is not an http:// or https:// address")
        try:
            port = parts.port
        except ValueError as error:
            raise CommandError(f"{target.source}: {target.url!r} has no valid port") from error
        self._prefix = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._connection = http.client.HTTPSConnection(parts.hostname, port, timeout=timeout, context=context)
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout)

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self.call("GET", path + (f"?{urlencode(query)}" if query else ""))

    def call(self, method: str, path: str, body: object = None, *, if_match: int | None = None) -> Any:
        """`if_match` is the revision that the change is based on. Raises CommandError for any status but 2xx."""
        status, content = self.exchange(method, path, body, if_match=if_match)
        try:
            answer = json.loads(content) if content else None
        except ValueError:
            answer = None if status >= 400 else _NOT_JSON
        if status >= 400:
            raise CommandError(self._refusal(status, answer))
        if status >= 300 or answer is _NOT_JSON:
            raise CommandError(
                f"{self.target.url} does not answer like Headgate's admin API (status {status}, no JSON)"
            )
        return answer

    def exchange(
        self, method: str, path: str, body: object = None, *, if_match: int | None = None
    ) -> tuple[int, bytes]:
        """Status and body, whatever they are. Raises CommandError where no answer comes."""
        headers = {"Accept": "application/json", "User-Agent": "headgate-cli"}
        if self.target.token:
            headers["Authorization"] = f"Bearer {self.target.token}"
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            self._connection.request(method, self._prefix + path, payload, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CommandError(self._unreachable(error)) from error

    def _unreachable(self, error: Exception) -> str:
        where = f"{self.target.url} (from {self.target.source})"
        if isinstance(error, ConnectionRefusedError):
            return f"no gateway answers at {where}: connection refused"
        if isinstance(error, TimeoutError):
            return f"no answer from {where} within {self._connection.timeout:g} s; whether it was done is unknown"
        if isinstance(error, ssl.SSLError):
            hint = "; SSL_CERT_FILE names a CA file" if isinstance(error, ssl.SSLCertVerificationError) else ""
            return f"no TLS connection to {where}: {error.reason or error}{hint}"
        if isinstance(error, http.client.HTTPException):
            return f"no proper HTTP answer from {where}: {type(error).__name__}"
        return f"cannot reach {where}: {getattr(error, 'strerror', None) or error}"

    def _refusal(self, status: int, answer: Any) -> str:
        """One line for a problem+json (RFC 9457) answer, naming the fields."""
        problem = answer if isinstance(answer, dict) else {}
        said = problem.get("detail") or problem.get("title") or http.client.responses.get(status, "")
        errors = problem.get("errors")
        fields = "; ".join(
            ": ".join(str(entry[key]) for key in ("field", "message") if entry.get(key))
            for entry in (errors if isinstance(errors, list) else [])
            if isinstance(entry, dict)
        )
        if status == 401:
            if said.startswith("the token"):  # one that was good once
                return f"{self.target.url}: {said} (401)"
            given = "this token" if self.target.token else "a call without a token"
            return f"{self.target.url} does not accept {given} (401): --token, HEADGATE_TOKEN or --state brings one"
        if status == 412:
            return f"someone changed it meanwhile, so nothing was done (412): {said}; look again and repeat"
        return f"refused ({status}): {fields or said}"


_NOT_JSON = object()
