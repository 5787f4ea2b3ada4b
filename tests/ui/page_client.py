"""A client of the page without a browser, and what the tests of the page ask it."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp

from swarmlite.testing import Cluster

WAIT_S = 120
SCREENSHOTS = Path(__file__).parents[2] / ".cache" / "screenshots"
MARKUP = "<script>alert(1)</script>"


def opener(cluster: Cluster, *handlers: Any) -> urllib.request.OpenerDirector:
    """A client that trusts the cluster's authority, follows no redirects and keeps no cookies."""
    roots = cluster.manager.paths.certificates_dir / "ca.crt"
    context = ssl.create_default_context(cafile=str(roots))

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), Stay()
    )


def ask(cluster: Cluster, url: str, cookie: str = "", form: dict[str, str] | None = None) -> Any:
    """Status, headers and text of an answer."""
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(url, data, {"Cookie": cookie} if cookie else {})
    try:
        with opener(cluster).open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def base(cluster: Cluster) -> str:
    return f"https://{cluster.manager.addr}:2376/ui"


def signed_in(cluster: Cluster, role: str) -> str:
    """A cookie of this role."""
    link = cluster.manager.cli("ui", "open", "--role", role).strip()
    status, headers, _ = ask(cluster, link)
    assert status == 303
    cookie = str(headers["Set-Cookie"])
    assert {"HttpOnly", "Secure", "SameSite=Strict"} <= set(cookie.split("; "))
    assert ask(cluster, link)[0] == 403, "a link signs in once"
    return cookie.partition(";")[0]


def token_of(text: str) -> str:
    """Of the forms of a page."""
    found = re.search(r'name="token" value="([^"]+)"', text)
    assert found is not None, text
    return found[1]


def field_of(text: str, name: str) -> str:
    """A hidden field of a plan."""
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found is not None, text
    return found[1]


def tasks(cluster: Cluster) -> list[str]:
    """The ids of the tasks of web that run."""
    lines = cluster.manager.cli(
        "service", "ps", "-q", "--no-trunc", "--filter", "desired-state=running", "web"
    )
    return lines.split()


def texts(browser: Any, selector: str) -> list[str]:
    """What each such element of the page that is open says."""
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
    found: list[str] = browser.execute_script(script, selector)
    return found


def page(cluster: Cluster, path: str, cookie: str) -> str:
    status, _, text = ask(cluster, f"{base(cluster)}{path}", cookie)
    assert status == 200, text
    return str(text)


def session(cluster: Cluster, cookie: str) -> aiohttp.ClientSession:
    context = ssl.create_default_context(
        cafile=str(cluster.manager.paths.certificates_dir / "ca.crt")
    )
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context), headers={"Cookie": cookie}
    )


def keep_screenshot(browser: Any, name: str) -> None:
    """What the browser shows now, in .cache/screenshots of this clone; docs/ has some of them."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))
