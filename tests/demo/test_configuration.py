"""The demo's configuration: real, complete, and the one that people read under examples/."""

from __future__ import annotations

from pathlib import Path

from admin.demo.run import TEMPLATE, configuration
from routing.load import load_file, load_text

ROOT = Path(__file__).parents[2]


def test_example_of_the_demo_is_the_demos_own_template() -> None:
    assert (ROOT / "examples" / "demo.yaml").read_text() == TEMPLATE.read_text()


def test_configuration_has_every_kind_of_rule() -> None:
    config = load_file(TEMPLATE, {})
    kinds = {kind for rule in config.routes["shop"].rules for kind in rule.when.model_dump(exclude_unset=True)}
    assert kinds == {"header", "cookie", "query", "method", "path", "client_ip", "geo"}
    shop = config.routes["shop"]
    assert shop.sticky is not None
    assert shop.retry is not None
    assert shop.flags


def test_configuration_of_a_run_differs_from_the_template_in_addresses_and_folders_only(tmp_path: Path) -> None:
    state = tmp_path / 'a "quoted" folder'
    services = {"blue": 41, "green": 42, "canary": 43, "next": 44}
    config = load_text(configuration(40, 45, services, state), {})
    assert [listen.address.port for listen in config.listen] == [40]
    assert config.admin.address.port == 45
    assert {name: upstream.endpoints for name, upstream in config.upstreams.items()} == {
        name: (f"http://127.0.0.1:{port}",) for name, port in services.items()
    }
    assert config.state.dir == str(state)
    template = load_file(TEMPLATE, {})
    assert config.routes == template.routes
    assert config.geo == template.geo
