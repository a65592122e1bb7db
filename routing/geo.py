"""Where an address is: inline ranges first, the longest prefix winning, then a MaxMind-format database.

Two layouts of database are in use and both are read: nested (GeoLite2: `country.iso_code`,
`subdivisions[0].iso_code`) and flat (`country_code`, `continent_code`, …). The file is looked at again by `refresh`,
not at every request; a replacement that cannot be read leaves the old one in force. For that the database is read
from a private copy in memory (a memfd, of which only the pages in use become resident): a file that `cp` overwrites
in place would change under a mapping of it, and a shorter one would end the process by SIGBUS.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from routing.addresses import parse_address
from routing.request import NOWHERE, Place

if TYPE_CHECKING:
    from maxminddb import Reader

# A database lookup costs about 20 us, most of it for building the record; clients come back.
_KEPT = 8192


@dataclass(frozen=True, slots=True)
class GeoSource:
    """What the configuration names: a database file, and ranges that win over it as (network, place)."""

    database: str | None = None
    ranges: tuple[tuple[str, Place], ...] = ()


_Identity = tuple[int, int, int]


class Geo:
    """Looks addresses up. `fault` is a plain sentence while the database cannot be read, else None.

    It does not raise: a worker that starts while the file is broken serves all the same (`headgate run` refuses to
    begin with one, by `check_database`).
    """

    def __init__(self, source: GeoSource) -> None:
        self._source = source
        self._ranges = _longest_first(source.ranges)
        self._known: dict[str, Place] = {}
        self._reader: Reader | None = None
        self._seen: _Identity | None = None
        self.fault: str | None = None
        if source.database is not None:
            self._adopt(source.database)

    def locate(self, ip: str) -> Place:
        """The place of an address; NOWHERE where it is unknown, private or no address."""
        place = self._known.get(ip)
        if place is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            place = self._known[ip] = self._look_up(ip)
        return place

    def _look_up(self, ip: str) -> Place:
        address = parse_address(ip)
        if address is None:
            return NOWHERE
        for network, place in self._ranges:
            if address.version == network.version and address in network:
                return place
        if self._reader is None:
            return NOWHERE
        try:
            return _place(self._reader.get(address))
        except (ValueError, OSError):  # an IPv6 address in an IPv4 database; a record that cannot be decoded
            return NOWHERE

    def refresh(self) -> str | None:
        """Opens the database anew where the file was replaced. A plain sentence where it is found broken, once for each
        change of the file, so that it can be logged as it comes; `fault` keeps it.
        """
        path = self._source.database
        if path is None or _identity(path) == self._seen:
            return None
        self._adopt(path)
        return self.fault

    def _adopt(self, path: str) -> None:
        self._seen = _identity(path)
        try:
            reader = _open(path)
        except ValueError as error:
            self.fault = f"{error}; the one from before stays in use" if self._reader is not None else str(error)
            return
        old, self._reader, self.fault = self._reader, reader, None
        self._known.clear()
        if old is not None:
            old.close()


def check_database(path: str) -> str | None:
    """What is wrong with a database file, in a plain sentence; None where it can be used."""
    try:
        _open(path).close()
    except ValueError as error:
        return str(error)
    return None


def _identity(path: str) -> _Identity | None:
    """What changes when a file is replaced or rewritten; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _open(path: str) -> Reader:
    """Raises ValueError with a plain sentence."""
    import maxminddb  # a gateway without a database does without the library

    copy = os.memfd_create("geo database")
    try:
        with open(path, "rb") as file:
            while os.sendfile(copy, file.fileno(), None, 1 << 24):
                pass
        reader = maxminddb.open_database(f"/proc/self/fd/{copy}", maxminddb.MODE_AUTO)
    except OSError as error:
        raise ValueError(f"cannot read the geo database {path}: {error.strerror or error}") from error
    except (maxminddb.InvalidDatabaseError, ValueError) as error:
        raise ValueError(f"{path} is no geo database in MaxMind format") from error
    finally:
        os.close(copy)
    try:
        reader.get("192.0.2.1")  # a file that was cut short opens, and fails at the first look-up
    except (maxminddb.InvalidDatabaseError, ValueError, OSError) as error:
        reader.close()
        raise ValueError(f"the geo database {path} is damaged") from error
    return reader


def _longest_first(ranges: tuple[tuple[str, Place], ...]) -> tuple[tuple[IPv4Network | IPv6Network, Place], ...]:
    networks = [(ip_network(cidr, strict=False), place) for cidr, place in ranges]
    return tuple(sorted(networks, key=lambda entry: entry[0].prefixlen, reverse=True))


def _place(record: object) -> Place:
    if not isinstance(record, dict):
        return NOWHERE
    country = _code(record, "country", "iso_code", "country_code")
    region = _subdivision(record)
    if region and "-" not in region:
        region = f"{country}-{region}" if country else ""
    return Place(
        continent=_code(record, "continent", "code", "continent_code"),
        country=country,
        subdivision=region,
        city=_city(record),
        asn=_asn(record),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _code(record: dict[str, object], section: str, key: str, flat: str) -> str:
    """Nested `section.key`, else the flat key; some databases put the code under the section's own name."""
    nested = record.get(section)
    if isinstance(nested, dict):
        return _text(nested.get(key)).upper()
    code = _text(record.get(flat)) or _text(nested)
    return code.upper() if len(code) == 2 else ""


def _subdivision(record: dict[str, object]) -> str:
    """The part of the country: the outermost one that has a code."""
    nested = record.get("subdivisions")
    if isinstance(nested, list):
        codes = [_text(part.get("iso_code")) for part in nested if isinstance(part, dict)]
        return next((code.upper() for code in codes if code), "")
    for key in ("subdivision_code", "region_code", "subdivision_1_iso_code", "subdivision", "region"):
        code = _text(record.get(key)).upper()
        if code and len(code.rpartition("-")[2]) <= 3:
            return code
    return ""


def _city(record: dict[str, object]) -> str:
    nested = record.get("city")
    if isinstance(nested, dict):
        names = nested.get("names")
        return _text(names.get("en")) if isinstance(names, dict) else ""
    return _text(nested) or _text(record.get("city_name"))


def _asn(record: dict[str, object]) -> int:
    for key in ("autonomous_system_number", "asn", "as_number"):
        value = record.get(key)
        if isinstance(value, int):
            return value
        digits = _text(value).upper().removeprefix("AS")
        if digits.isascii() and digits.isdigit():
            return int(digits)
    return 0
