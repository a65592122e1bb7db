"""The shadow bench: its shop is as noisy and as wrong as it says, its clients notice, and it runs as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.shop_answers import DEFECTS, Defect, Shop, response
from bench.shop_load import is_as_sent, paths

ORDER = b"/shop/orders/17"
NOISY = {"id", "at", "tags", "score", "served"}


def document(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\n", body


def test_two_sound_shops_differ_in_the_noisy_fields_alone() -> None:
    one, other = Shop("stable", 1), Shop("shadow", 2)
    one.served = 7
    differing = set()
    for number in range(200):
        (status, a), (_, b) = (document(shop.answer(ORDER, b"%d" % number, 1e9 + shop.served)) for shop in (one, other))
        assert status == 200
        assert a.keys() == b.keys()
        differing |= {name for name in a if a[name] != b[name]}
    assert differing == NOISY | {"epoch", "promoted"}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect_is_in_one_answer_of_a_hundred_and_only_in_orders(defect: Defect) -> None:
    shop = Shop("shadow", 1)
    shop.begin(1, defect.name)
    sound, noted = 0, 0
    for number in range(4_000):
        answer = shop.answer(ORDER, b"%d" % number, 1e9)
        status, order = document(answer) if answer else (0, {})
        is_sound = (
            status == 200 and order["id"] and order.get("currency") and order["price"] == 1999 and order["score"] >= 0
        )
        sound += bool(is_sound)
        noted = shop.wrong
    assert sound + noted == 4_000
    assert 20 <= noted <= 70
    for number in range(1_000):
        assert document(shop.answer(b"/shop/stock", b"%d" % number, 1e9))[0] == 200
    assert shop.wrong == noted


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(200, b"{}", b"17", b"stable"), True),
        (response(500, b"{}", b"17", b"stable"), True),
        (response(200, b"{}", b"16", b"stable"), False),
        (response(200, b"{}", b"17", b"shadow"), False),
        (response(200, b"{}", b"17", b"stable").replace(b"{}", b"[]"), False),
        (response(200, b"{}", b"17", b"stable") + b"x", False),
        (response(200, b"{}", b"17", b"stable").replace(b" 200 ", b" 500 "), False),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}", False),
    ],
)
def test_client_notices_an_answer_that_is_not_the_primarys(answer: bytes, expected: bool) -> None:
    assert is_as_sent(*split(answer), 17) is expected


def test_every_other_request_is_for_an_order() -> None:
    drawn = paths(1, 100)
    assert sum(path.startswith(b"/orders/") for path in drawn) == 50
    assert len(set(drawn)) > 60


def test_bench_reports_nothing_of_a_sound_shadow(tmp_path: Path) -> None:
    """Runs the real bench, with real processes, briefly."""
    kept = tmp_path / "figures.json"
    command = [sys.executable, "-P", "-m", "bench", "shadow", "--part", "sound", "--pairs", "100", "--json", str(kept)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    figures = json.loads(kept.read_text())["figures"]
    asked = [figure for figure in figures if figure["asked"] is not None]
    assert len(asked) == 6
    assert all(figure["ok"] and figure["measured"] == 0 for figure in asked)
