"""Who the client is: the peer, or what trusted proxies say."""

from __future__ import annotations

import pickle

import pytest

from routing.addresses import Networks, client_of

TRUSTED = Networks(("10.0.0.0/8", "2001:db8::/32", "127.0.0.1"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("11.0.0.1", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("2001:db8::7", True),
        ("2001:db9::7", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::7%eth0", True),
        ("", False),
        ("ten", False),
        ("10.1.2", False),
    ],
)
def test_networks_contain_addresses_of_either_family(address: str, expected: bool) -> None:
    assert TRUSTED.contain(address) is expected
    assert TRUSTED.contain(address) is expected  # the remembered verdict is the same


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", b"198.51.100.7", "192.0.2.1"),  # not a trusted proxy: what it says counts for nothing
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", b"198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", b"203.0.113.9, 198.51.100.7", "198.51.100.7"),  # the left one is the client's own claim
        ("10.0.0.1", b"198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", b"198.51.100.7,10.0.0.2 , 10.0.0.3", "198.51.100.7"),
        ("10.0.0.1", b"10.0.0.5, 10.0.0.2", "10.0.0.5"),
        ("10.0.0.1", b"198.51.100.7, unknown", "10.0.0.1"),
        ("10.0.0.1", b"unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", b"[2001:db9::1]:4711", "2001:db9::1"),
        ("10.0.0.1", b"2001:db9::1", "2001:db9::1"),
        ("10.0.0.1", b"::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", b"198.51.100.7\xff", "10.0.0.1"),
        ("2001:db8::1", b"198.51.100.7", "198.51.100.7"),
    ],
)
def test_client_is_the_last_hop_that_is_no_trusted_proxy(peer: str, forwarded: bytes | None, client: str) -> None:
    assert client_of(peer, forwarded, TRUSTED) == client


def test_networks_survive_pickling() -> None:
    copy = pickle.loads(pickle.dumps(TRUSTED))
    assert copy.contain("10.1.2.3")
    assert not copy.contain("11.1.2.3")


def test_networks_of_nothing_are_false_and_contain_nothing() -> None:
    assert not Networks(())
    assert not Networks(()).contain("10.0.0.1")


def test_networks_refuse_what_is_no_network() -> None:
    with pytest.raises(ValueError, match="appear"):
        Networks(("10.0.0.0/33",))
