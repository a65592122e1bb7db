"""The identity provider's keys over real HTTP: when they are asked for, and what holds while they can't be had."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from admin.jose import keys_of
from admin.jwks import JwksAddress, JwksFile, Keys, NoKeysError
from admin.logs import start_logging
from tests.support.identity_provider import IdentityProvider, ec, okp, rsa


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider(ec("one"))
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(provider: IdentityProvider, clock: Clock) -> Keys:
    return Keys(JwksAddress(provider.url), start_logging("test"), clock)


async def loaded(keys: Keys) -> None:
    """Until the attempt under way is over."""
    assert keys._loading is not None
    await keys._loading


async def test_nothing_is_fetched_before_a_token_asks_and_then_once(keys: Keys, provider: IdentityProvider) -> None:
    assert provider.fetches == 0
    found = await asyncio.gather(*(keys.find("one", "ES256") for _ in range(20)))
    assert [key.kid for key in found if key is not None] == ["one"] * 20
    assert provider.fetches == 1


async def test_an_unknown_key_has_them_asked_for_anew_at_most_every_30_seconds(
    keys: Keys, provider: IdentityProvider, clock: Clock
) -> None:
    await keys.find("one", "ES256")
    provider.keys = [ec("two")]
    for _ in range(5):
        assert await keys.find("two", "ES256") is None
    assert provider.fetches == 1
    clock.now += 30.0
    assert await keys.find("two", "ES256") is not None
    assert await keys.find("one", "ES256") is None  # rotated out
    assert provider.fetches == 2


async def test_keys_of_five_minutes_are_asked_for_anew_and_nobody_waits(
    keys: Keys, provider: IdentityProvider, clock: Clock
) -> None:
    await keys.find("one", "ES256")
    provider.keys = [ec("two")]
    provider.held.clear()
    clock.now += 300.0
    assert await keys.find("one", "ES256") is not None
    provider.held.set()
    await loaded(keys)
    assert await keys.find("one", "ES256") is None
    assert provider.fetches == 2


async def test_the_last_good_keys_hold_for_a_day_while_it_is_down(
    keys: Keys, provider: IdentityProvider, clock: Clock
) -> None:
    await keys.find("one", "ES256")
    await provider.stop()
    clock.now += 86_399.0
    assert await keys.find("one", "ES256") is not None
    await loaded(keys)
    assert keys.failures == 1
    clock.now += 1.0
    with pytest.raises(NoKeysError):
        await keys.find("one", "ES256")
    await provider.start()
    clock.now += 5.0
    assert await keys.find("one", "ES256") is not None


async def test_without_any_keys_each_attempt_is_five_seconds_after_the_last(
    keys: Keys, provider: IdentityProvider, clock: Clock
) -> None:
    provider.status = 500
    for _ in range(3):
        with pytest.raises(NoKeysError):
            await keys.find("one", "ES256")
    assert (provider.fetches, keys.failures) == (1, 1)
    provider.status = 200
    clock.now += 5.0
    assert await keys.find("one", "ES256") is not None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (302, b"{}"),
        (200, b"not JSON"),
        (200, b"[]"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'),
        (200, b"[" * 100_000),
        (200, b" " * 1_100_000),
    ],
)
async def test_an_answer_that_is_no_key_set_leaves_the_last_good_one(
    keys: Keys, provider: IdentityProvider, clock: Clock, status: int, body: bytes
) -> None:
    await keys.find("one", "ES256")
    provider.status, provider.body = status, body
    clock.now += 30.0
    assert await keys.find("two", "ES256") is None
    assert (keys.failures, provider.fetches) == (1, 2)
    assert await keys.find("one", "ES256") is not None


async def test_without_a_kid_the_only_key_that_fits_is_taken(keys: Keys, provider: IdentityProvider) -> None:
    provider.keys = [ec("one"), rsa("two"), rsa("three")]
    found = await keys.find(None, "ES256")
    assert found is not None
    assert found.kid == "one"
    assert await keys.find(None, "RS256") is None


async def test_a_file_is_read_again_when_it_was_replaced_and_kept_while_it_is_broken(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "jwks.json"
    keys = Keys(JwksFile(str(path)), start_logging("test"), clock)

    def replace_by(text: str) -> None:
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", path)

    with pytest.raises(NoKeysError):
        await keys.find("one", "ES256")
    replace_by(json.dumps(IdentityProvider(ec("one")).document()))
    assert await keys.find("one", "ES256") is not None
    replace_by(json.dumps(IdentityProvider(ec("two")).document()))
    assert await keys.find("one", "ES256") is None
    assert await keys.find("two", "ES256") is not None
    replace_by("half of")
    assert await keys.find("two", "ES256") is not None
    path.unlink()
    assert await keys.find("two", "ES256") is not None
    clock.now += 86_400.0
    with pytest.raises(NoKeysError):
        await keys.find("two", "ES256")


def listed(*keys: Any, **members: Any) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) | members for key in keys]}).encode()


def test_a_key_is_for_its_type_its_curve_and_its_own_algorithm() -> None:
    (curve,) = keys_of(listed(ec("a")))
    assert [name for name in ("ES256", "ES384", "RS256", "HS256", "none", "Ed25519") if curve.fits(name)] == ["ES256"]
    (edwards,) = keys_of(listed(okp("a")))
    assert [name for name in ("EdDSA", "Ed25519", "Ed448", "ES256") if edwards.fits(name)] == ["EdDSA", "Ed25519"]
    one = rsa("a")
    (any_rsa,) = keys_of(listed(one))
    assert [name for name in ("RS256", "PS512", "HS256", "none") if any_rsa.fits(name)] == ["RS256", "PS512"]
    (pinned,) = keys_of(listed(one, alg="RS256"))
    assert [name for name in ("RS256", "PS256", "RS512") if pinned.fits(name)] == ["RS256"]


@pytest.mark.parametrize(
    "members", [{"use": "enc"}, {"n": "AQAB"}, {"n": 5}, {"n": "!"}, {"kid": 7}, {"alg": 7}, {"kty": []}]
)
def test_a_key_that_is_not_for_signatures_or_weak_or_broken_is_left_out(members: dict[str, Any]) -> None:
    good, other = json.loads(listed(ec("good")))["keys"][0], json.loads(listed(rsa("other"), **members))["keys"][0]
    assert [key.kid for key in keys_of(json.dumps({"keys": [other, good, "no key"]}).encode())] == ["good"]
