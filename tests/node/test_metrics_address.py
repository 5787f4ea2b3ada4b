"""Where figures may be served: loopback plainly, elsewhere to holders of a certificate only."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.node import metrics
from swarmlite.node.flags import parse


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """swarmlite.toml, empty."""
    path = tmp_path / "swarmlite.toml"
    path.write_text("")
    monkeypatch.setenv("SWARMLITE_SETTINGS", str(path))
    return path


def options(*flags: str) -> metrics.MetricsOptions:
    return metrics.options_of(parse(list(flags)))


def test_nothing_is_served_unless_an_address_is_named(config: Path) -> None:
    assert options() == metrics.MetricsOptions()


@pytest.mark.parametrize("addr", ["127.0.0.1:9323", "[::1]:9323", "localhost:0"])
def test_loopback_is_plain(config: Path, addr: str) -> None:
    assert options(f"--metrics-addr={addr}") == metrics.MetricsOptions(addr)


@pytest.mark.parametrize("addr", ["0.0.0.0:9323", "192.0.2.1:9323", "[::]:9323", ":9323", "9323"])
def test_elsewhere_needs_certificates(config: Path, addr: str) -> None:
    with pytest.raises(InvalidSpec, match="without TLS only a loopback address"):
        options(f"--metrics-addr={addr}")


def test_the_file_of_the_owner_says_it_too_and_flags_come_first(config: Path) -> None:
    config.write_text(
        '[metrics]\naddr = "192.0.2.1:9323"\ntls-ca = "/a"\ntls-cert = "/b"\ntls-key = "/c"\n'
    )
    assert options() == metrics.MetricsOptions("192.0.2.1:9323", ("/a", "/b", "/c"))
    assert options("--metrics-addr=127.0.0.1:1").addr == "127.0.0.1:1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[metrics]\nport = 1\n", "metrics.port: expected text in addr, tls-ca"),
        ("[metrics]\naddr = 9323\n", "metrics.addr: expected text"),
        ('[metrics]\ntls-ca = "/a"\n', "go together"),
    ],
)
def test_what_the_file_says_wrongly_is_named(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    with pytest.raises(InvalidSpec, match=said):
        options()
