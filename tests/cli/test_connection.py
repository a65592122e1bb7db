"""How commands find the gateway and its token, and what they say when that fails: one line, exit code 1."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from admin.client import find_target
from admin.errors import CommandError
from tests.cli.conftest import Headgate
from tests.cli.fake_admin import TOKEN, FakeAdmin, problem, route

ELSEWHERE = "https://gateway.example.com"


def folder(path: Path, url: str = "http://127.0.0.1:9901", token: str = "from-folder") -> Path:
    path.mkdir()
    (path / "admin.url").write_text(url)
    (path / "admin.token").write_text(token)
    return path


CASES = [
    # (--admin, --token, --state, environment, the URL, the token)
    (None, None, "given", {}, "http://127.0.0.1:9901", "from-folder"),
    (None, "typed", "given", {}, "http://127.0.0.1:9901", "typed"),
    (None, None, None, {"HEADGATE_STATE": "given"}, "http://127.0.0.1:9901", "from-folder"),
    (None, None, None, {"HEADGATE_ADMIN": ELSEWHERE, "HEADGATE_TOKEN": "exported"}, ELSEWHERE, "exported"),
    (ELSEWHERE, None, None, {"HEADGATE_ADMIN": "http://x", "HEADGATE_TOKEN": "exported"}, ELSEWHERE, "exported"),
    (f"{ELSEWHERE}/", "typed", None, {}, ELSEWHERE, "typed"),
    # the command line is nearer than what was exported some time ago
    (
        None,
        None,
        "given",
        {"HEADGATE_ADMIN": ELSEWHERE, "HEADGATE_TOKEN": "old"},
        "http://127.0.0.1:9901",
        "from-folder",
    ),
    (None, None, None, {"HEADGATE_STATE": "given", "HEADGATE_TOKEN": "exported"}, "http://127.0.0.1:9901", "exported"),
    # a folder's token goes to its own gateway, to this machine, or where the folder was named along with the address
    (ELSEWHERE, None, None, {"HEADGATE_STATE": "given"}, ELSEWHERE, ""),
    ("http://127.0.0.1:1", None, None, {"HEADGATE_STATE": "given"}, "http://127.0.0.1:1", "from-folder"),
    (ELSEWHERE, None, "given", {}, ELSEWHERE, "from-folder"),
    (ELSEWHERE, None, "given", {"HEADGATE_TOKEN": "exported"}, ELSEWHERE, "exported"),
]


@pytest.mark.parametrize(("admin", "token", "state", "environ", "url", "expected"), CASES)
def test_target_from_options_environment_and_folder_is_the_nearest(
    tmp_path: Path,
    admin: str | None,
    token: str | None,
    state: str | None,
    environ: dict[str, str],
    url: str,
    expected: str,
) -> None:
    given = folder(tmp_path / "given")
    environ = {name: str(given) if value == "given" else value for name, value in environ.items()}
    target = find_target(admin, token, str(given) if state else None, environ)
    assert (target.url, target.token) == (url, expected)


def test_target_shown_hides_its_token(tmp_path: Path) -> None:
    target = find_target(None, None, str(folder(tmp_path / "given")), {})
    assert "from-folder" not in repr(target)


def test_target_without_any_address_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no gateway found: no admin\.url in .*nowhere"):
        find_target(None, None, str(tmp_path / "nowhere"), {})


def test_options_before_the_command_count_as_those_after_it(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/audit": (200, {"entries": [], "next": None})}
    assert headgate("--state", str(state), "--json", "audit").out == '{"entries": [], "next": null}\n'
    assert headgate("--state", "/nowhere", "audit", "--state", str(state)).code == 0


def test_environment_names_gateway_and_token(
    headgate: Headgate, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.answers = {"GET /v1/audit": (200, {"entries": [], "next": None})}
    monkeypatch.setenv("HEADGATE_ADMIN", admin.url)
    monkeypatch.setenv("HEADGATE_TOKEN", TOKEN)
    assert headgate("audit").code == 0


REFUSALS = [
    (
        problem(422, "weights.canry: no such upstream", ("weights.canry", "no such upstream; did you mean canary?")),
        "headgate: refused (422): weights.canry: no such upstream; did you mean canary?\n",
    ),
    (
        problem(422, "two", ("weights.a", "a weight cannot be negative"), ("reason", "too long")),
        "headgate: refused (422): weights.a: a weight cannot be negative; reason: too long\n",
    ),
    (problem(404, "there is no route 'shop'"), "headgate: refused (404): there is no route 'shop'\n"),
    (
        problem(412, "it is at revision 9 now"),
        "headgate: someone changed it meanwhile, so nothing was done (412): it is at revision 9 now; "
        "look again and repeat\n",
    ),
    (problem(403, "this token may only read"), "headgate: refused (403): this token may only read\n"),
    ((502, b"<html>not ours</html>"), "headgate: refused (502): Bad Gateway\n"),
]


@pytest.mark.parametrize(("answer", "line"), REFUSALS, ids=lambda value: str(value)[:24])
def test_refusal_by_the_api_becomes_one_line_that_names_the_field(
    headgate: Headgate, admin: FakeAdmin, state: Path, answer: tuple[int, object], line: str
) -> None:
    admin.answers = {"GET /v1/routes/shop": (200, route()), "PUT /v1/routes/shop/weights": answer}
    result = headgate("weights", "shop", "canary=10", "--state", str(state))
    assert (result.code, result.out, result.err) == (1, "", line)


def test_unknown_token_says_how_to_bring_another(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    result = headgate("cutback", "shop", "--token", "wrong", "--state", str(state))
    assert result.code == 1
    assert result.err == (
        f"headgate: {admin.url} does not accept this token (401): --token, HEADGATE_TOKEN or --state brings one\n"
    )
    assert headgate("cutback", "shop", "--admin", "http://localhost:1").code == 1


def test_gateway_that_is_not_there_is_one_line(headgate: Headgate) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets this port meanwhile
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = headgate("cutback", "shop", "--admin", url)
    assert result.code == 1
    assert result.err == f"headgate: no gateway answers at {url} (from --admin): connection refused\n"


@pytest.mark.parametrize("url", ["gateway:9901", "ftp://gateway", "http://", "http://gateway:port"])
def test_address_that_is_none_is_one_line(headgate: Headgate, url: str) -> None:
    result = headgate("status", "--admin", url)
    assert result.code == 1
    assert result.err.startswith("headgate: --admin: ")
    assert result.err.count("\n") == 1


def test_answer_that_is_not_json_is_not_taken_for_the_admin_api(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    admin.answers = {"GET /v1/audit": (200, b"<html>some other server</html>")}
    result = headgate("audit", "--state", str(state))
    assert result.code == 1
    assert "does not answer like Headgate's admin API" in result.err


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_follows_the_ready_endpoint_without_a_token(
    headgate: Headgate, admin: FakeAdmin, state: Path, status: int, code: int
) -> None:
    (state / "admin.token").unlink()
    admin.answers = {"GET /health/ready": (status, {"status": "ok" if status == 200 else "failing"})}
    assert headgate("health", "--state", str(state)).code == code
    assert headgate("health", "--admin", admin.url).code == code
    assert {call.token for call in admin.calls} == {None}


def test_health_without_a_gateway_is_1(headgate: Headgate) -> None:
    assert headgate("health").code == 1
