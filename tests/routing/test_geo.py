"""Places from inline ranges and from real database files, which may be replaced or broken while in use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from routing.geo import Geo, GeoSource, check_database
from routing.request import NOWHERE, Place

NESTED = {
    "continent": {"code": "NA", "names": {"en": "North America"}},
    "country": {"iso_code": "US", "names": {"en": "United States"}},
    "subdivisions": [{"iso_code": "NY"}, {"iso_code": "XX"}],
    "city": {"names": {"de": "Neu York", "en": "New York"}},
}
FLAT = {"continent_code": "EU", "country_code": "de", "region_code": "BE", "city": "Berlin", "asn": "AS3320"}


def write(path: Path, records: dict[str, dict[str, Any]], ip_version: int = 4) -> Path:
    writer = MMDBWriter(ip_version, "Test", languages=["en"], ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def geo_of(tmp_path: Path, record: dict[str, Any]) -> Geo:
    return Geo(GeoSource(str(write(tmp_path / "geo.mmdb", {"198.51.100.0/24": record}))))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (NESTED, Place("NA", "US", "US-NY", "New York", 0)),
        (FLAT, Place("EU", "DE", "DE-BE", "Berlin", 3320)),
        ({"country": {"iso_code": "AT"}}, Place(country="AT")),
        ({"autonomous_system_number": 64500, "autonomous_system_organization": "Example"}, Place(asn=64500)),
        ({"country": "US", "continent": "NA", "asn": "AS15169"}, Place("NA", "US", asn=15169)),
        ({"country": "Norway", "country_code": "NO", "continent": "Europe"}, Place(country="NO")),
        ({"country_code": "US", "region": "California"}, Place(country="US")),
        ({"country_code": "US", "subdivision": "US-CA"}, Place(country="US", subdivision="US-CA")),
        ({"subdivisions": [{"iso_code": "NY"}]}, NOWHERE),
        ({"subdivisions": [], "city": {}, "country": {}}, NOWHERE),
        ({"something": "else"}, NOWHERE),
    ],
)
def test_locate_reads_nested_and_flat_records(tmp_path: Path, record: dict[str, Any], expected: Place) -> None:
    assert geo_of(tmp_path, record).locate("198.51.100.7") == expected


@pytest.mark.parametrize("ip", ["192.0.2.1", "10.0.0.1", "127.0.0.1", "::1", "2001:db8::1", "", "nonsense", "1.2.3"])
def test_locate_unknown_private_or_invalid_addresses_are_nowhere(tmp_path: Path, ip: str) -> None:
    assert geo_of(tmp_path, NESTED).locate(ip) == NOWHERE


def test_locate_ipv6_and_mapped_ipv4_use_the_same_file(tmp_path: Path) -> None:
    path = write(tmp_path / "six.mmdb", {"2001:db8::/32": FLAT, "198.51.100.0/24": NESTED}, ip_version=6)
    geo = Geo(GeoSource(str(path)))
    assert geo.locate("2001:db8::1").country == "DE"
    assert geo.locate("::ffff:198.51.100.7").country == "US"
    assert geo.locate("198.51.100.7").country == "US"


RANGES = (
    ("10.0.0.0/8", Place(country="DE")),
    ("10.1.0.0/16", Place(country="AT")),
    ("10.1.2.3/32", Place(country="CH")),
    ("198.51.100.128/25", Place(country="NO")),
    ("fd00::/8", Place(country="SE")),
)


@pytest.mark.parametrize(
    ("ip", "country"),
    [
        ("10.9.9.9", "DE"),
        ("10.1.9.9", "AT"),
        ("10.1.2.3", "CH"),
        ("fd00::1", "SE"),
        ("198.51.100.200", "NO"),
        ("198.51.100.1", "US"),
        ("192.0.2.1", ""),
    ],
)
def test_locate_longest_inline_range_wins_over_shorter_and_database(tmp_path: Path, ip: str, country: str) -> None:
    path = write(tmp_path / "geo.mmdb", {"198.51.100.0/24": NESTED})
    assert Geo(GeoSource(str(path), RANGES)).locate(ip).country == country


def test_locate_without_database_uses_ranges_alone() -> None:
    geo = Geo(GeoSource(None, RANGES))
    assert geo.locate("10.1.2.3").country == "CH"
    assert geo.locate("192.0.2.1") == NOWHERE
    assert geo.refresh() is None


def test_locate_keeps_a_bounded_number_of_places() -> None:
    geo = Geo(GeoSource(None, RANGES))
    for number in range(20_000):
        geo.locate(f"10.{number % 250}.{number // 250}.1")
    assert len(geo._known) <= 8192


def test_refresh_after_the_file_was_replaced_uses_the_new_one(tmp_path: Path) -> None:
    geo = geo_of(tmp_path, NESTED)
    assert geo.locate("198.51.100.7").country == "US"
    os.replace(write(tmp_path / "new.mmdb", {"198.51.100.0/24": FLAT}), tmp_path / "geo.mmdb")
    assert geo.locate("198.51.100.7").country == "US"  # until somebody looks
    assert geo.refresh() is None
    assert geo.locate("198.51.100.7").country == "DE"


def test_refresh_after_the_file_was_overwritten_in_place_uses_the_new_one(tmp_path: Path) -> None:
    geo = geo_of(tmp_path, NESTED)
    (tmp_path / "geo.mmdb").write_bytes(write(tmp_path / "new.mmdb", {"198.51.100.0/24": FLAT}).read_bytes())
    assert geo.refresh() is None
    assert geo.locate("198.51.100.7").country == "DE"


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[40:])


def _garbage(path: Path) -> None:
    path.write_bytes(b"no database" * 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [_truncated, _garbage, _empty, _gone])
def test_refresh_of_a_broken_file_keeps_the_old_one_and_says_so(tmp_path: Path, spoil: Any) -> None:
    geo = geo_of(tmp_path, NESTED)
    path = tmp_path / "geo.mmdb"
    spoil(path)
    said = geo.refresh()
    assert said is not None
    assert str(path) in said
    assert "stays in use" in said
    assert geo.refresh() is None  # it was said once
    assert geo.fault == said
    assert geo.locate("198.51.100.7").country == "US"
    assert geo.locate("198.51.100.8").country == "US"  # not from the cache
    write(path, {"198.51.100.0/24": FLAT})
    assert geo.refresh() is None
    assert geo.fault is None
    assert geo.locate("198.51.100.7").country == "DE"


def test_geo_that_starts_with_a_broken_file_knows_nothing_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "geo.mmdb"
    geo = Geo(GeoSource(str(path), RANGES))
    assert geo.fault is not None
    assert geo.locate("198.51.100.7") == NOWHERE
    assert geo.locate("10.1.2.3").country == "CH"
    write(path, {"198.51.100.0/24": NESTED})
    assert geo.refresh() is None
    assert geo.locate("198.51.100.7").country == "US"


@pytest.mark.parametrize("spoil", [_truncated, _garbage, _empty, _gone])
def test_check_database_names_what_is_wrong(tmp_path: Path, spoil: Any) -> None:
    path = write(tmp_path / "geo.mmdb", {"198.51.100.0/24": NESTED})
    assert check_database(str(path)) is None
    spoil(path)
    said = check_database(str(path))
    assert said is not None
    assert str(path) in said


def test_geo_opened_and_refreshed_often_leaks_no_descriptor(tmp_path: Path) -> None:
    geo = geo_of(tmp_path, NESTED)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        write(tmp_path / "geo.mmdb", {f"198.51.{number}.0/24": FLAT})
        assert geo.refresh() is None
    assert len(os.listdir("/proc/self/fd")) == before
