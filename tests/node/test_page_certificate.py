"""`ui enable` with a certificate of the owner's, and the process that it begins."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite.client import membership
from swarmlite.errors import InvalidSpec
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject, new_request
from swarmlite.node.page import Page
from swarmlite.paths import Paths
from swarmlite.testing import reserved


def pair(root: RootCA, name: str) -> tuple[bytes, bytes]:
    key, csr = new_request()
    return root.issue(csr, Subject(name, MANAGER, "c")), key


@pytest.fixture
async def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    """Of a manager with a certificate of its cluster's."""
    monkeypatch.setattr(membership, "is_manager", lambda _: True)
    paths = Paths(tmp_path / "state", tmp_path / "run")
    for folder in (paths.certificates_dir, paths.logs_dir, paths.run_dir):
        folder.mkdir(parents=True)
    root = RootCA.create()
    (paths.certificates_dir / "ca.crt").write_bytes(root.cert)
    for name, content in zip(("node.crt", "node.key"), pair(root, "m1"), strict=True):
        (paths.certificates_dir / name).write_bytes(content)
    made = Page(paths)
    yield made
    await made.stop()


async def test_the_owners_certificate_is_served_and_links_name_its_host(
    page: Page, tmp_path: Path
) -> None:
    cert, key = pair(RootCA.create(), "page.example")
    for name, content in {"cert": cert, "key": key, "other": new_request()[0]}.items():
        (tmp_path / name).write_bytes(content)
    port = reserved.port()
    addr = f"127.0.0.1:{port}"

    async def asked(**said: Any) -> dict[str, Any]:
        return await page.operation({"op": "ui", **said}, None)  # type: ignore[arg-type]

    async def served() -> str:
        while True:
            try:
                return await asyncio.to_thread(
                    ssl.get_server_certificate, ("127.0.0.1", port), timeout=60
                )
            except OSError:
                await asyncio.sleep(0.05)

    own = {"cert": f"{tmp_path}/cert"}
    for more, why in (
        ({}, "go together"),
        ({"key": f"{tmp_path}/other"}, "cannot be used"),
        ({"key": f"{tmp_path}/missing"}, "cannot be used"),
        ({"key": "key"}, "expected an absolute path"),
    ):
        with pytest.raises(InvalidSpec, match=why):
            await asked(action="enable", addr=addr, **own, **more)
    assert not page.addr
    async with asyncio.timeout(300):
        await asked(action="enable", addr=addr, **own, key=f"{tmp_path}/key")
        assert await served() == cert.decode()
        link = (await asked(action="open"))["link"]
        assert link.startswith(f"https://page.example:{port}/ui/signin?token=")
        await asked(action="enable", addr=addr)
        assert await served() != cert.decode()
        assert (await asked(action="open"))["link"].startswith(f"https://{addr}/")
