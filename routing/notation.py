"""How the document writes durations, sizes, shares, addresses and endpoints. Each parser raises ValueError in plain
words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from math import isfinite
from urllib.parse import urlsplit

from routing.snapshot import Endpoint

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST = 3660 * 86400.0
_BYTES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?B|B)", re.IGNORECASE)
_RATE = re.compile(r"([0-9]{1,7})\s*/\s*([0-9]{1,7})?(s|m|h|d)")
_RATE_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_MOST = 1_000_000
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Whole(int):
    """A whole number from a document; `text` is how it was written (`007`)."""

    text: str


class Real(float):
    """A fraction from a document; `text` is how it was written (`1.10`)."""

    text: str


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else None
        except ValueError:
            return None
    return None


def text_of(value: object) -> str:
    """The text of a scalar: YAML's numbers and booleans count as they are written."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Whole, Real)):
        return value.text
    if isinstance(value, (int, float)):
        return str(value)
    raise ValueError("must be a text")


def duration(value: object) -> float:
    """Seconds of `2s`, `250ms`, `1h30m`, `30d` or a plain number."""
    seconds = _number(value)
    if seconds is None and isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(value))
    if seconds is None:
        raise ValueError("must be a duration, such as 250ms, 2s, 5m, 12h or 30d")
    if not 0 <= seconds <= _LONGEST:
        raise ValueError("must be a duration from 0 to 10 years")
    return seconds


def positive_duration(value: object) -> float:
    seconds = duration(value)
    if seconds == 0:
        raise ValueError("must be longer than 0")
    return seconds


def size(value: object) -> int:
    """Bytes of `32KiB`, `256KB` or a plain whole number."""
    count = _number(value)
    if count is None and isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        count = float(match[1]) * _BYTES[match[2].lower()]
    if count is None or not isfinite(count) or count < 0 or count != int(count):
        raise ValueError("must be a number of bytes, such as 32KiB, 256KB or 65536")
    return int(count)


def memory(value: object) -> int | str:
    """`auto`, or a size."""
    return "auto" if value == "auto" else size(value)


def count(value: object) -> int:
    """A whole number >= 0."""
    number = _number(value)
    if number is None or not isfinite(number) or number < 0 or number != int(number):
        raise ValueError("must be a whole number, 0 or more")
    return int(number)


def positive_count(value: object) -> int:
    number = count(value)
    if number == 0:
        raise ValueError("must be a whole number, 1 or more")
    return number


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    count: int
    seconds: int

    def __str__(self) -> str:
        unit, seconds = next((unit, size) for unit, size in _RATE_SECONDS.items() if self.seconds % size == 0)
        return f"{self.count}/{'' if self.seconds == seconds else self.seconds // seconds}{unit}"


def rate(value: object) -> Rate:
    """`100/s`, `600/m`, `1000/h`, `5/10s`."""
    if isinstance(value, Rate):
        return value
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not 0 < int(match[1]) <= _MOST or not 0 < int(match[2] or 1) <= _MOST:
        raise ValueError("must be a number of requests in a time, such as 100/s, 600/m or 5/10s")
    return Rate(int(match[1]), int(match[2] or 1) * _RATE_SECONDS[match[3]])


def workers(value: object) -> int | str:
    """`auto`, or how many."""
    if value == "auto":
        return "auto"
    number = _number(value)
    if number is None or number != int(number) or not 1 <= number <= 1024:
        raise ValueError("must be auto or a number of processes from 1 to 1024")
    return int(number)


def retry_on(value: object) -> int | str:
    """`connect`, `reset` or a status."""
    if value in ("connect", "reset"):
        return str(value)
    number = _number(value)
    if number is None or number != int(number) or not 400 <= number <= 599:
        raise ValueError("must be connect, reset or a status from 400 to 599")
    return int(number)


def percent(value: object) -> float:
    """0..100 of `10`, `0.5` or `10%`."""
    number = _number(value)
    if number is None and isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        number = float(match[1])
    if number is None or not 0 <= number <= 100:
        raise ValueError("must be a percentage from 0 to 100")
    return number


def ratio(value: object) -> float:
    """0..1 of `20%`. A plain number is refused, since 1 could mean either."""
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())) and 0 <= float(match[1]) <= 100:
        return float(match[1]) / 100
    raise ValueError("must be a percentage from 0% to 100%, such as 20%")


def fraction(value: object) -> float:
    """0..1 of a plain number or `20%`."""
    number = _number(value)
    if number is None:
        return ratio(value)
    if not 0 <= number <= 1:
        raise ValueError("must be from 0 to 1, or a percentage such as 20%")
    return number


def number(value: object) -> float:
    """Any finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a number")
    try:
        found = float(value)
    except ValueError:
        raise ValueError("must be a number") from None
    if not isfinite(found):
        raise ValueError("must be a finite number")
    return found


def weight(value: object) -> float:
    """Any number at all: which ones make sense together is judged where the other weights are known."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number")
    return float(value)


def truth(value: object) -> bool:
    """YAML's own true and false only."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def regex(value: object) -> str:
    text = text_of(value)
    try:
        re.compile(text.encode())
    except re.error as error:
        at = f" at character {error.pos + 1}" if error.pos is not None else ""
        raise ValueError(f"is no regular expression: {error.msg}{at}") from None
    return text


def cidr(value: object) -> str:
    """A network, or one address; host bits may be set."""
    try:
        return str(ip_network(text_of(value).strip(), strict=False))
    except ValueError:
        raise ValueError(f"{value!r} is no network, such as 10.0.0.0/8 or 2001:db8::/32") from None


def token(value: object) -> str:
    """RFC 9110 section 5.6.2: what a field name, a method and a cookie's name are made of."""
    text = text_of(value)
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} has a character that a name cannot have")
    return text


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. An empty host is every interface; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def address(value: object) -> Address:
    """`0.0.0.0:8080`, `:8080`, `[::1]:8080`, `localhost:0`."""
    if isinstance(value, Address):
        return value
    host, colon, port = text_of(value).strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port, such as 0.0.0.0:8080, :8080 or [::1]:8080")
    return Address(_host(host) if host else "", int(port))


def _host(text: str) -> str:
    """A name or address, IPv6 in brackets; lower case, without the brackets."""
    if text.startswith("[") and text.endswith("]"):
        try:
            parsed = ip_address(text[1:-1])
        except ValueError:
            raise ValueError(f"{text!r} is no IPv6 address") from None
        return str(parsed)
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is no host name or address (IPv6 goes into brackets: [::1]:8080)")
    return text.lower()


def host_pattern(value: object) -> str:
    """A host a route takes: a name, `*.name`, or `*` for any; lower case, in its ASCII form."""
    text = text_of(value).strip().lower()
    if text == "*":
        return text
    wild, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            raise ValueError(f"{text!r} is no host name") from None
    if name.startswith("[") and not wild:
        return f"[{_host(name)}]"
    if "*" in name:
        raise ValueError(f"{text!r}: a wildcard stands only for whole labels at the front, as in *.example.com")
    if ":" in name:
        raise ValueError(f"{text!r}: hosts are matched without their port")
    if not _HOST.fullmatch(name):
        raise ValueError(f"{text!r} is no host name")
    return wild + name.rstrip(".")


def endpoint(value: object) -> Endpoint:
    """`http://host[:port]`, `https://host[:port]` or `unix:///path/to.sock`."""
    text = text_of(value).strip()
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError("a Unix socket is written unix:///path/to.sock")
        return Endpoint(f"unix://{path}", "", 0, path, False, b"localhost")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{text!r} is no endpoint, such as http://10.0.0.7:8000") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or port == 0:
        raise ValueError("must be an endpoint, such as http://10.0.0.7:8000, https://host or unix:///path/to.sock")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("an endpoint is scheme, host and port only, such as http://10.0.0.7:8000")
    secure = parts.scheme == "https"
    netloc_host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc
    host = _host(netloc_host.rstrip(":"))
    usual = 443 if secure else 80
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, usual) else f"{shown}:{port}"
    return Endpoint(f"{parts.scheme}://{authority}", host, port or usual, "", secure, authority.encode())
