"""One cluster and one browser for all tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_client import MARKUP, WAIT_S

from swarmlite.testing import Cluster
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

SCRIPT = "echo says $HOSTNAME; echo complains >&2; exec sleep 1000"


@pytest.fixture(scope="package")
def image() -> list[str]:
    """Where the cluster's registry has busybox, once it does."""
    return []


@pytest.fixture(scope="package")
def cluster(image: list[str]) -> Iterator[Cluster]:
    """One manager with its page enabled and a service of two tasks, with markup in a label."""
    with Cluster(1, 0) as made:
        assert made.lan is not None
        with Registry(made.lan.gateway) as registry:
            registry.push(debian_images.busybox())
            image.append(f"{registry.address}/busybox:latest")
            made.manager.cli("ui", "enable")
            made.manager.cli("network", "create", "-d", "overlay", "backbone")
            for kind, name in (("secret", "word"), ("config", "rules")):
                made.manager.cli(kind, "create", name, "-", input="the-needle")
            made.manager.cli(
                "service", "create", "-q", "--name", "web", "--replicas", "2",
                "--label", f"note={MARKUP}", "--health-cmd", "echo fit", "--health-interval", "1s",
                "--stop-grace-period", "1s", "--network", "backbone",
                "--mount", "type=volume,source=kept,target=/kept",
                "--secret", "word", "--config", "rules",
                image[0], "sh", "-c", SCRIPT,
                timeout_s=180,
            )  # fmt: skip
            yield made


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's chromium, without a window."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("chromium is not installed (Debian: chromium, chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    profile: Path = tmp_path_factory.mktemp("profile")
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
        "--ignore-certificate-errors", "--no-proxy-server", f"--user-data-dir={profile}",
        "--window-size=1200,900",
    ):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(WAIT_S)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def shop(
    cluster: Cluster, image: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of a stack that is deployed."""
    file = tmp_path_factory.mktemp("stack") / "stack.yml"
    file.write_text(f"services: {{app: {{image: {image[0]!r}, command: [sleep, '1000']}}}}\n")
    cluster.manager.cli("stack", "deploy", "--detach", "-c", str(file), "shop")
    yield "shop"
    cluster.manager.cli("stack", "rm", "shop")


@pytest.fixture
def admin(cluster: Cluster, browser: Any) -> Any:
    """The browser, signed in, with a window of a usual size."""
    browser.set_window_size(1200, 900)
    browser.get(cluster.manager.cli("ui", "open").strip())
    return browser
