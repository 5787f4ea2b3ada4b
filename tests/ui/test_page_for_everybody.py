"""Every page by keyboard, in light and dark, 360 px wide, and as a screen reader is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page_client import WAIT_S, base, keep_screenshot, tasks, texts

from swarmlite.testing import Cluster

pytestmark = pytest.mark.timeout(900)
TEXT_RATIO, PICTURE_RATIO = 4.5, 3.0
"""Of WCAG 2.2, 1.4.3 and 1.4.11."""

CONTROLS = frozenset({
    "button", "link", "textbox", "searchbox", "checkbox", "spinbutton", "combobox",
    "DisclosureTriangle", "image", "table", "columnheader", "navigation", "region",
})  # fmt: skip

# What is read out when it changes, or when it comes.
LIVE = {"/service/web": {"status", "log"}, "/deploy": {"status"}, "/task/none": {"alert"}}

LUMINANCE = """
const numbers = (color) => color.match(/[0-9.]+/g).map(Number);
const linear = (c) => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const ratio = (one, other) => {
    const [a, b] = [luminance(one), luminance(other)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const resolved = (color) => {
    const probe = document.createElement("span");
    probe.style.color = color;
    document.body.append(probe);
    const found = numbers(getComputedStyle(probe).color);
    probe.remove();
    return found;
};
const canvas = resolved("Canvas");
const over = (top, below) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha));
};
const behind = (element) => {
    if (!element) return canvas;
    return over(numbers(getComputedStyle(element).backgroundColor), behind(element.parentElement));
};
"""

# What is written, with the ratio of its colour to what is behind it.
WRITTEN = (
    LUMINANCE
    + """
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const shown = new Set(document.querySelectorAll("input, textarea"));
while (texts.nextNode())
    if (texts.currentNode.textContent.trim()) shown.add(texts.currentNode.parentElement);
for (const element of shown) {
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element), ground = behind(element);
    const color = over(numbers(element.closest("svg") ? style.fill : style.color), ground);
    found.push([element.tagName + "." + element.className, ratio(color, ground)]);
}
return found;
"""
)

# Colours of the style sheet that stand for something, whether or not this page has it.
NAMED = (
    LUMINANCE
    + """
const found = [];
for (const sheet of document.styleSheets) for (const rule of sheet.cssRules) {
    if (!rule.style) continue;
    for (const name of ["--good", "--bad", "--wait"])
        if (rule.style.getPropertyValue(name))
            found.push([name, ratio(resolved(`var(${name})`), canvas)]);
    if (rule.style.stroke && !rule.style.stroke.includes("line"))
        found.push([rule.selectorText, ratio(resolved(rule.style.stroke), canvas)]);
}
return found;
"""
)

REACHABLE = """
const all = document.querySelectorAll(
    "a[href], button, input:not([type=hidden]), textarea:not([hidden]), summary, [tabindex='0']");
return [...all].filter((e) => e.checkVisibility() && !e.disabled).length;
"""

FOCUSED = """
const element = document.activeElement;
if (!element || element === document.body) return null;
const style = getComputedStyle(element);
return [
    [...document.querySelectorAll("*")].indexOf(element),
    style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    element.outerHTML.slice(0, 200),
];
"""


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def emulated(browser: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


LOADED = """
return performance.getEntriesByType("resource").map(e => e.name)
    .filter(name => new URL(name).origin !== location.origin)
"""

BORDERS = """
const found = {};
for (const classes of arguments[0]) {
    const column = document.createElement("section");
    column.className = "column " + classes;
    document.body.append(column);
    found[classes] = getComputedStyle(column).borderTopColor;
    column.remove();
}
return found;
"""


@pytest.fixture
def pages(cluster: Cluster, admin: Any, shop: str) -> Iterator[Callable[[], Iterator[str]]]:
    """Opens every kind of page, one after the other, and says which."""

    def each() -> Iterator[str]:
        paths = ["/", "/service/web", f"/task/{tasks(cluster)[0]}", "/node/self", "/stacks",
                 f"/stack/{shop}", "/networks", "/network/backbone", "/volumes", "/secrets",
                 "/configs", "/deploy", "/task/none"]  # fmt: skip
        for path in paths:
            admin.get(f"{base(cluster)}{path}")
            admin.execute_script("document.querySelectorAll('details').forEach(e => e.open = true)")
            yield path
        for path in ("/service/web", "/node/self", f"/stack/{shop}"):
            admin.get(f"{base(cluster)}{path}")
            admin.execute_script("document.querySelector('.doing button').click()")
            cluster.wait(lambda: texts(admin, "#confirm"), WAIT_S, "the plan")
            yield f"{path}/plan"

    yield each
    admin.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    admin.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_page_fits_a_screen_of_360_px(admin: Any, pages: Callable[[], Iterator[str]]) -> None:
    """What is wider is moved inside of its own frame; the page itself never sideways."""
    screen = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    admin.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    for path in pages():
        assert admin.execute_script("return window.innerWidth") == 360
        wide = admin.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 360, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_written_stands_out_from_what_is_behind_it(
    cluster: Cluster, admin: Any, pages: Callable[[], Iterator[str]], scheme: str
) -> None:
    emulated(admin, scheme)
    for path in pages():
        if path == "/service/web":
            cluster.wait(lambda: texts(admin, ".logs .stderr"), WAIT_S, "lines of the log")
            keep_screenshot(admin, "service" if scheme == "light" else "service-dark")
        dark = admin.execute_script(f"{LUMINANCE} return luminance(canvas) < 0.1")
        assert dark == (scheme == "dark")
        written = admin.execute_script(WRITTEN)
        assert written
        faint = [each for each in written if each[1] < TEXT_RATIO]
        assert not faint, path
        named = dict(admin.execute_script(NAMED))
        assert len(named) > 5
        assert named["--bad"] >= TEXT_RATIO
        assert not {what: ratio for what, ratio in named.items() if ratio < PICTURE_RATIO}


def test_a_screen_reader_is_told_what_everything_is(
    admin: Any, pages: Callable[[], Iterator[str]]
) -> None:
    """By the tree that the browser hands to it: names, tables, landmarks, a title of each page."""
    titles = {}
    for path in pages():
        tree = admin.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        told = [node for node in tree if not node["ignored"]]
        roles = [node["role"]["value"] for node in told]
        assert {"main", "banner", "navigation", "heading"} <= set(roles), path
        assert LIVE.get(path, set()) <= set(roles), (path, roles)
        tables = admin.execute_script(
            "return [...document.querySelectorAll('table')].filter(e => e.checkVisibility()).length"
        )
        assert roles.count("table") == tables, path
        nameless = [
            (node["role"]["value"], node.get("properties"))
            for node in told
            if _is_control(node) and not _name(node)
        ]
        assert not nameless, path
        assert admin.execute_script("return document.querySelectorAll('h1').length") == 1
        assert admin.execute_script("return document.documentElement.lang") == "en"
        titles[path] = admin.title
    assert len(set(titles.values())) == len(titles), titles


def test_nothing_is_loaded_from_elsewhere_and_the_policy_refuses_nothing_of_ours(
    cluster: Cluster, admin: Any, pages: Callable[[], Iterator[str]]
) -> None:
    """A script that is added all the same does not run."""
    admin.get_log("browser")
    for path in pages():
        assert admin.execute_script(LOADED) == [], path
        said = [each["message"] for each in admin.get_log("browser")]
        assert not [text for text in said if "Content Security Policy" in text], (path, said)
    script = "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran=1\">')"
    admin.execute_script(script)
    refused: list[str] = []

    def told() -> bool:
        refused.extend(each["message"] for each in admin.get_log("browser"))
        return any("Content Security Policy" in text for text in refused)

    cluster.wait(told, WAIT_S, "the browser to say that it was refused")
    assert admin.execute_script("return window.ran === undefined")


def test_of_what_is_wrong_with_a_node_the_worst_is_its_columns_colour(admin: Any) -> None:
    """One that was drained and then went down is down."""
    classes = ["ready", "ready drain", "down", "down drain", "ready warned", "ready drain warned"]
    colours = admin.execute_script(BORDERS, classes)
    well, wait, bad = (colours[name] for name in classes[:3])
    assert len({well, wait, bad}) == 3
    assert [colours[name] for name in classes[3:]] == [bad] * 3


def _is_control(node: Any) -> bool:
    said = {each["name"]: each["value"].get("value") for each in node.get("properties", ())}
    return node["role"]["value"] in CONTROLS or bool(said.get("focusable"))


def _name(node: Any) -> str:
    return str(node.get("name", {}).get("value", "")).strip()


def test_the_tab_key_reaches_everything_in_its_order_and_shows_where_it_is(
    admin: Any, pages: Callable[[], Iterator[str]]
) -> None:
    from selenium.webdriver.common.keys import Keys

    for path in pages():
        expected = admin.execute_script(REACHABLE)
        admin.execute_script("window.scrollTo(0, 0); document.activeElement.blur()")
        places = []
        for _ in range(expected * 2):
            press(admin, Keys.TAB)
            focused = admin.execute_script(FOCUSED)
            if focused is None or (places and focused[0] <= places[0]):
                break
            place, outlined, html = focused
            assert outlined, (path, html)
            places.append(place)
        assert places == sorted(set(places)), path
        assert len(places) >= expected, path


def test_everything_is_done_by_keys_alone(cluster: Cluster, admin: Any) -> None:
    """Enter and the space bar press what they are on; Escape leaves a plan and closes a part."""
    from selenium.webdriver.common.keys import Keys

    def focus(selector: str) -> None:
        admin.execute_script("document.querySelector(arguments[0]).focus()", selector)

    def buttons() -> list[str]:
        return [text for text in texts(admin, ".doing button") if text.endswith("…")]

    for path in ("/service/web", "/node/self"):
        admin.get(f"{base(cluster)}{path}")
        for number, _ in enumerate(buttons()):
            script = "document.querySelectorAll('.doing button')[arguments[0]].focus()"
            admin.execute_script(script, number)
            press(admin, (Keys.ENTER, Keys.SPACE)[number % 2])
            cluster.wait(lambda: texts(admin, "h1") and "/plan" in admin.current_url, WAIT_S, "it")
            if texts(admin, "a.cancel"):  # there may be nothing to roll back to
                press(admin, Keys.ESCAPE)
            else:
                admin.back()
            cluster.wait(buttons, WAIT_S, "the buttons again")

    admin.get(f"{base(cluster)}/service/web")
    focus("[name=replicas]")
    press(admin, Keys.ENTER)
    cluster.wait(lambda: texts(admin, "#confirm"), WAIT_S, "the plan")
    focus("#confirm")
    press(admin, Keys.SPACE)
    cluster.wait(lambda: texts(admin, "h1") == ["web"], WAIT_S, "the service, written")

    focus(".logs > summary")
    press(admin, Keys.ENTER)
    cluster.wait(lambda: texts(admin, ".logs pre > div"), WAIT_S, "the log")
    focus(".logs [name=search]")
    press(admin, Keys.ESCAPE)
    script = "return document.querySelector('.logs').open"
    cluster.wait(lambda: not admin.execute_script(script), WAIT_S, "the log to close")
    assert admin.execute_script("return document.activeElement.tagName") == "SUMMARY"

    admin.get(f"{base(cluster)}/networks")
    press(admin, Keys.TAB)
    assert admin.execute_script("return document.activeElement.className") == "skip"
    press(admin, Keys.ENTER)
    press(admin, Keys.TAB)
    assert admin.execute_script("return document.activeElement.closest('main') !== null")

    focus("header button")
    press(admin, Keys.ENTER)
    cluster.wait(lambda: texts(admin, "h1") == ["Signed out"], WAIT_S, "to be signed out")
