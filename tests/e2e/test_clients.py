"""httpbin behind the gateway, driven by the HTTP clients that people use: requests, httpx, aiohttp and curl."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from tests.support.gateway import Gateway
from tests.support.stage import Stage

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
STATUSES = [200, 201, 204, 304, 400, 404, 418, 500, 503]


@pytest.fixture(scope="module")
def gateway(shared: Stage, httpbin: str) -> Gateway:
    return shared.running({"httpbin": httpbin}, workers=2)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as own:
        own.trust_env = False
        yield own


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30.0) as own:
        yield own


@pytest.fixture
async def browser(gateway: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(gateway.url) as own:
        yield own


@pytest.fixture
def curled(curl: str, gateway: Gateway) -> Callable[..., bytes]:
    """What curl prints for a path. Its exit code must be 0."""

    def run(path: str, *options: str, stdin: bytes = b"") -> bytes:
        command = [curl, "--silent", "--show-error", "--max-time", "30", "--noproxy", "*", *options, gateway.url + path]
        done = subprocess.run(command, input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.mark.parametrize("method", METHODS)
def test_requests_sends_each_method_with_its_body(gateway: Gateway, session: requests.Session, method: str) -> None:
    answer = session.request(
        method, f"{gateway.url}/anything/things?a=1&a=2", data=None if method == "GET" else b"what it says"
    )
    seen = answer.json()
    assert (answer.status_code, seen["method"], seen["args"]) == (200, method, {"a": ["1", "2"]})
    assert seen["data"] == ("" if method == "GET" else "what it says")
    assert seen["headers"]["Host"] == gateway.url.removeprefix("http://")


@pytest.mark.parametrize("status", STATUSES)
def test_requests_gets_the_status_that_the_upstream_chose(
    gateway: Gateway, session: requests.Session, status: int
) -> None:
    answer = session.get(f"{gateway.url}/status/{status}")
    assert answer.status_code == status
    assert "X-Headgate-Error" not in answer.headers


def test_requests_follows_redirects_that_stay_behind_the_gateway(gateway: Gateway, session: requests.Session) -> None:
    relative = session.get(f"{gateway.url}/redirect/3")
    assert [hop.status_code for hop in relative.history] == [302, 302, 302]
    absolute = session.get(f"{gateway.url}/absolute-redirect/2")
    assert absolute.status_code == 200
    assert absolute.url == f"{gateway.url}/get"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "brotli"])
def test_requests_decodes_what_the_upstream_compressed(
    gateway: Gateway, session: requests.Session, coding: str
) -> None:
    answer = session.get(f"{gateway.url}/{coding}")
    assert answer.json()["brotli" if coding == "brotli" else coding + ("ped" if coding == "gzip" else "d")]
    assert answer.headers["Content-Encoding"] == ("br" if coding == "brotli" else coding)


def test_requests_keeps_cookies_that_the_upstream_sets(gateway: Gateway, session: requests.Session) -> None:
    session.get(f"{gateway.url}/cookies/set?flavour=oat&size=small")
    assert session.get(f"{gateway.url}/cookies").json()["cookies"] == {"flavour": "oat", "size": "small"}


def test_requests_uploads_in_chunks_and_streams_lines_back(gateway: Gateway, session: requests.Session) -> None:
    sent = session.post(f"{gateway.url}/post", data=(b"%d;" % number for number in range(1000)))
    assert sent.json()["data"] == "".join(f"{number};" for number in range(1000))
    assert sent.json()["headers"]["Transfer-Encoding"] == "chunked"
    with session.get(f"{gateway.url}/stream/20", stream=True) as answer:
        assert [json.loads(line)["id"] for line in answer.iter_lines()] == list(range(20))


def test_requests_authenticates_through_the_gateway(gateway: Gateway, session: requests.Session) -> None:
    assert session.get(f"{gateway.url}/basic-auth/ann/secret", auth=("ann", "secret")).status_code == 200
    assert session.get(f"{gateway.url}/basic-auth/ann/secret", auth=("ann", "wrong")).status_code == 401
    digest = requests.auth.HTTPDigestAuth("ann", "secret")
    assert session.get(f"{gateway.url}/digest-auth/auth/ann/secret", auth=digest).status_code == 200


def test_httpx_head_has_the_fields_of_get_and_no_body(client: httpx.Client) -> None:
    head, get = client.head("/html"), client.get("/html")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.content))


def test_httpx_moves_a_big_body_both_ways_unchanged(client: httpx.Client) -> None:
    body = bytes(range(256)) * 16384
    seen = client.post("/post", content=body, headers={"Content-Type": "application/octet-stream"}).json()
    assert len(seen["data"]) > len(body)  # as a data: URL in base64
    assert len(client.get("/bytes/102400?seed=1").content) == 102400
    assert (
        client.get("/stream-bytes/100000?seed=1&chunk_size=777").content == client.get("/bytes/100000?seed=1").content
    )


def test_httpx_gets_a_range_of_a_body(client: httpx.Client) -> None:
    answer = client.get("/range/1024", headers={"Range": "bytes=100-199"})
    assert (answer.status_code, len(answer.content)) == (206, 100)
    assert answer.headers["Content-Range"] == "bytes 100-199/1024"


def test_httpx_sends_a_form_with_files(client: httpx.Client) -> None:
    seen = client.post("/post", data={"kind": "photo"}, files={"file": ("a.bin", b"\x00\x01", "image/x")}).json()
    assert seen["form"] == {"kind": "photo"}
    assert set(seen["files"]) == {"file"}


async def test_aiohttp_makes_many_requests_at_once_over_kept_connections(browser: aiohttp.ClientSession) -> None:
    async def one(number: int) -> Any:
        async with browser.put("/anything", params={"n": str(number)}, json={"number": number}) as answer:
            return (await answer.json())["json"]["number"]

    assert await asyncio.gather(*(one(number) for number in range(60))) == list(range(60))


async def test_aiohttp_uploads_from_an_asynchronous_generator(browser: aiohttp.ClientSession) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%04d" % number

    async with browser.post("/post", data=parts()) as answer:
        assert len((await answer.json())["data"]) == 400


async def test_aiohttp_reads_a_slow_answer_as_it_comes(browser: aiohttp.ClientSession) -> None:
    async with browser.get("/drip?numbytes=5&duration=0.2&delay=0") as answer:
        assert [part async for part, _ in answer.content.iter_chunks() if part] == [b"*"] * 5


def test_curl_sends_and_receives_json(curled: Callable[..., bytes]) -> None:
    seen = json.loads(curled("/post", "--json", '{"a": 1}'))
    assert seen["json"] == {"a": 1}


def test_curl_waits_for_100_continue_before_a_large_body(curled: Callable[..., bytes]) -> None:
    body = b"x" * 2_000_000
    options = ["--data-binary", "@-", "-H", "Expect: 100-continue", "-H", "Content-Type: text/plain"]
    seen = curled("/post", *options, "--expect100-timeout", "20", "--dump-header", "-", stdin=body)
    *interim, final, answer = seen.split(b"\r\n\r\n")
    assert set(interim) == {b"HTTP/1.1 100 Continue"}  # Werkzeug sends it twice
    assert final.startswith(b"HTTP/1.1 200 OK")
    assert len(json.loads(answer)["data"]) == len(body)


def test_curl_uploads_in_chunks_from_a_pipe(curled: Callable[..., bytes]) -> None:
    options = ["--upload-file", "-", "-H", "Content-Type: text/plain"]
    assert json.loads(curled("/put", *options, stdin=b"y" * 300_000))["data"] == "y" * 300_000


def test_curl_speaks_http_1_0(curled: Callable[..., bytes]) -> None:
    head, _, body = curled("/stream/3", "--http1.0", "--include").partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert len(body.splitlines()) == 3


def test_curl_uses_one_connection_for_several_requests(curled: Callable[..., bytes], gateway: Gateway) -> None:
    seen = curled("/status/200", "--write-out", "%{num_connects} ", gateway.url + "/status/204", gateway.url + "/uuid")
    assert [part for part in seen.split() if part in (b"0", b"1")] == [b"1", b"0", b"0"]


def test_curl_follows_a_redirect_with_cookies_and_compression(curled: Callable[..., bytes]) -> None:
    seen = curled("/cookies/set?a=b", "--location", "--cookie", "none", "--compressed")
    assert json.loads(seen) == {"cookies": {"a": "b"}}
