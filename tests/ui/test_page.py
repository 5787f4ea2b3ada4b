"""The page of a real manager in Debian's chromium."""

from __future__ import annotations

import re
import urllib.error
from typing import Any

import pytest
from page_client import MARKUP, WAIT_S, ask, base, keep_screenshot, signed_in, texts, token_of

from swarmlite.testing import Cluster

pytestmark = pytest.mark.timeout(600)


def test_nobody_sees_anything_without_signing_in(cluster: Cluster) -> None:
    for path in ("/", "/live", "/service/web", "/node/self", "/task/x", "/signin?token=x"):
        status, headers, text = ask(cluster, base(cluster) + path)
        assert status == 403, path
        assert "web" not in re.sub(r"<[^>]*>", "", text)
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_reader_looks_and_changes_nothing(cluster: Cluster) -> None:
    cookie = signed_in(cluster, "reader")
    status, _, text = ask(cluster, f"{base(cluster)}/service/web", cookie)
    assert status == 200
    assert "Remove" not in text
    assert MARKUP not in text
    assert "&lt;script&gt;alert(1)" in text
    form = {"do": "scale", "replicas": "5", "token": token_of(text)}
    _, _, plan = ask(cluster, f"{base(cluster)}/service/web/plan", cookie, form)
    version = re.search(r'name="version" value="(\d+)"', plan)
    assert version is not None
    form["version"] = version[1]
    status, _, text = ask(cluster, f"{base(cluster)}/service/web/do", cookie, form)
    assert status == 403
    assert "may not call UpdateService" in text
    assert "2/2" in cluster.manager.cli("service", "ls")


def test_a_form_without_its_token_or_of_an_older_version_changes_nothing(cluster: Cluster) -> None:
    cookie = signed_in(cluster, "admin")
    form = {"do": "remove", "version": "0"}
    for token in ({}, {"token": "x"}):
        status, _, text = ask(cluster, f"{base(cluster)}/service/web/do", cookie, form | token)
        assert (status, "not of this page" in text) == (403, True)
    _, _, text = ask(cluster, f"{base(cluster)}/service/web", cookie)
    form["token"] = token_of(text)
    status, _, text = ask(cluster, f"{base(cluster)}/service/web/do", cookie, form)
    assert (status, "somebody else changed" in text) == (409, True)
    wrong = {"do": "scale", "replicas": "-1", "token": form["token"]}
    status, _, text = ask(cluster, f"{base(cluster)}/service/web/plan", cookie, wrong)
    assert (status, "expected a number" in text) == (400, True)
    assert "web" in cluster.manager.cli("service", "ls")


def test_a_browser_signs_in_scales_and_sees_it_live(cluster: Cluster, browser: Any) -> None:
    """In one life: the link, two tiles, a plan, its confirmation, and the third tile by itself."""
    from selenium.webdriver.common.by import By

    def tiles() -> int:
        return len(texts(browser, ".tile.running"))

    browser.get(cluster.manager.cli("ui", "open").strip())
    cluster.wait(lambda: tiles() == 2, WAIT_S, "two tiles")
    cluster.wait(
        lambda: texts(browser, "[data-service=web] .replicas") == ["2/2"],
        WAIT_S,
        "two of two replicas",
    )
    keep_screenshot(browser, "overview")
    # The overview may be drawn again at any moment: its links are followed by their address.
    script = "return document.querySelector('[data-service=web] a').href"
    service = browser.execute_script(script)
    browser.get(service)
    field = browser.find_element(By.NAME, "replicas")
    field.clear()
    field.send_keys("3")
    browser.find_element(By.XPATH, "//button[text()='Scale…']").click()
    cluster.wait(lambda: browser.current_url == f"{service}/plan", WAIT_S, "the plan")
    cluster.wait(lambda: texts(browser, "#confirm"), WAIT_S, "its button")
    assert any("from 2 to 3 replicas" in text for text in texts(browser, "main li"))
    browser.find_element(By.ID, "confirm").click()
    cluster.wait(lambda: browser.current_url == service, WAIT_S, "the service again")
    browser.get(f"{base(cluster)}/")
    cluster.wait(lambda: tiles() == 3, WAIT_S, "three tiles, without loading the page again")
    cluster.manager.cli("service", "scale", "-d", "web=1")
    cluster.wait(lambda: tiles() == 1, WAIT_S, "one tile, without loading the page again")
    cluster.manager.cli("service", "scale", "-d", "web=2")
    cluster.wait(lambda: tiles() == 2, WAIT_S, "two tiles, without loading the page again")
    cluster.manager.freeze("etcd")
    try:
        lost = "The managers have no quorum"
        cluster.wait(
            lambda: any(lost in text for text in texts(browser, ".banner")), WAIT_S, "the banner"
        )
    finally:
        cluster.manager.thaw("etcd")
    cluster.wait(lambda: not texts(browser, ".banner"), WAIT_S, "the banner to go")
    browser.set_window_size(360, 800)
    keep_screenshot(browser, "narrow")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= max(
        360, browser.execute_script("return window.innerWidth")
    )


def test_the_page_goes_when_it_is_disabled(cluster: Cluster) -> None:
    cluster.manager.cli("ui", "disable")
    with pytest.raises(urllib.error.URLError):
        ask(cluster, f"{base(cluster)}/")
    cluster.manager.cli("ui", "enable")
    assert ask(cluster, f"{base(cluster)}/")[0] == 403
