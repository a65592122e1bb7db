"""Who may call what, and what the others learn."""

from __future__ import annotations

import asyncio
import base64
import io
from urllib.parse import urlsplit

import pytest

from admin.api.operations import OPERATIONS
from admin.auth import Role, Tokens, digest_of, token_of
from admin.state.store import Token
from admin.throttle import FAILURES, Throttle
from tests.admin.conftest import Plane

OPEN = ("/health", "/health/live", "/health/ready")


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "safe", "token"),
    [
        ("Bearer abc", False, "abc"),
        ("bearer abc", True, "abc"),
        (basic("abc"), True, "abc"),
        (basic("abc"), False, None),
        ("Basic !!!", True, None),
        ("Bearer ", True, None),
        ("Digest abc", True, None),
        ("abc", True, None),
        ("", True, None),
        (None, True, None),
    ],
)
def test_a_token_comes_as_bearer_or_for_reading_as_a_password(
    authorization: str | None, safe: bool, token: str | None
) -> None:
    assert token_of(authorization, safe=safe) == token


def test_only_the_open_calls_need_no_token() -> None:
    assert tuple(operation.path for operation in OPERATIONS if operation.role is None) == OPEN


async def test_without_a_token_every_path_answers_the_same(plane: Plane) -> None:
    answers = []
    for method, path in [
        ("GET", "/v1/routes"), ("GET", "/v1/routes/shop"), ("GET", "/v1/routes/nope"), ("GET", "/nope"), ("POST", "/v1/routes"),
        ("PUT", "/v1/config"), ("POST", "/health"), ("GET", "/health/detailed"), ("GET", "/metrics"), ("GET", "/docs"),
        ("GET", "/openapi.json"), ("GET", "/"), ("OPTIONS", "/v1/routes"), ("POST", "/v1/routes/shop/cutback"),
    ]:  # fmt: skip
        plane.context.throttle = Throttle()
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Token {plane.token}"}):
            answer = await plane.bare(method, path, headers=headers)
            answers.append((answer.status, answer.text, answer.headers["WWW-Authenticate"]))
    assert set(answers) == {(401, answers[0][1], 'Bearer realm="headgate"')}
    assert len(plane.supervisor.published) == 1


async def test_unknown_tokens_have_to_wait_and_a_known_one_from_the_same_address_does_not(plane: Plane) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    for _ in range(FAILURES):
        assert (await plane.bare("GET", "/v1/status", headers=wrong)).status == 401
    answer = await plane.bare("GET", "/nope", headers=wrong)
    assert (answer.status, answer.json["type"]) == (429, "urn:headgate:problem:too-many-failures")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert (await plane.call("GET", "/v1/status")).status == 200
    assert (await plane.bare("GET", "/v1/status", headers=wrong)).status == 429
    assert (await plane.bare("GET", "/v1/status")).status == 401  # no token is no guess
    metrics = (await plane.call("GET", "/metrics")).text
    assert f"headgate_admin_login_failures_total {FAILURES + 2}.0" in metrics


@pytest.mark.parametrize("token", [b"\xff\xfe", b"\xff.a.b", b"e30.\xff.a"])
async def test_a_token_that_is_no_text_is_one_that_is_not_known(token: bytes, plane: Plane) -> None:
    url = urlsplit(plane.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(b"GET /v1/routes HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n" % token)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert plane.context.throttle.failures == 1


async def test_an_oversized_body_without_a_token_is_not_read(plane: Plane) -> None:
    answer = await plane.bare("PUT", "/v1/config", data=io.BytesIO(b"x" * (17 * 1024 * 1024)))
    assert answer.status == 401


async def test_a_browser_is_asked_for_the_token(plane: Plane) -> None:
    answer = await plane.bare("GET", "/docs", headers={"Accept": "text/html"})
    assert (answer.status, "Basic" in answer.headers["WWW-Authenticate"]) == (401, True)
    answer = await plane.bare("GET", "/docs", headers={"Authorization": basic(plane.token)})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_a_password_that_a_browser_sends_by_itself_changes_nothing(plane: Plane) -> None:
    answer = await plane.bare("POST", "/v1/routes/shop/cutback", headers={"Authorization": basic(plane.token)})
    assert answer.status == 401
    assert len(plane.supervisor.published) == 1


@pytest.mark.parametrize("path", OPEN)
async def test_health_needs_no_token(plane: Plane, path: str) -> None:
    answer = await plane.bare("GET", path)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_may_do_what_it_may_and_no_more(plane: Plane, role: Role) -> None:
    context = plane.context
    context.tokens = Tokens([Token("someone", digest_of("theirs"), role.name.lower(), "t")])
    for operation in OPERATIONS:
        if operation.role is None:
            continue
        path = operation.path.replace("{route}", "nowhere").replace("{upstream}", "nowhere").replace("{name}", "no")
        answer = await plane.bare(operation.method, path, headers={"Authorization": "Bearer theirs"})
        assert (answer.status == 403) == (role < operation.role), operation.path
    changes = [publish.live for publish in plane.supervisor.published[1:]]
    assert len(changes) == (0 if role is Role.VIEWER else 2)  # `POST /v1/cutback` and `DELETE` of the same


def test_tokens_are_known_by_their_digest() -> None:
    tokens = Tokens([Token("ann", digest_of("secret"), "operator", "t")])
    assert tokens.find("secret") == Token("ann", digest_of("secret"), "operator", "t")
    assert tokens.find(digest_of("secret")) is None
    assert tokens.find("") is None


async def test_the_token_file_is_private_and_the_store_has_only_its_digest(plane: Plane) -> None:
    path = plane.folder / "admin.token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(plane.token) >= 43
    assert plane.folder.stat().st_mode & 0o777 == 0o700
    assert plane.token.encode() not in b"".join(file.read_bytes() for file in plane.folder.glob("state.sqlite3*"))


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nope", 404, None),
        ("PATCH", "/v1/routes", 405, "GET, HEAD"),
        ("DELETE", "/v1/config", 405, "GET, HEAD, PUT"),
    ],
)
async def test_what_does_not_exist_is_a_problem_too(
    plane: Plane, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await plane.call(method, path)
    assert (answer.status, answer.json["status"], answer.headers.get("Allow")) == (status, status, allow)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(answer.json) == {"type", "title", "status", "detail"}
