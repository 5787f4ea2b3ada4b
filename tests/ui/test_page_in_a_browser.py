"""Scripts of the pages of one thing, as chromium runs them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from page_client import WAIT_S, base, tasks, texts

from swarmlite.testing import Cluster

pytestmark = pytest.mark.timeout(600)


def opened(browser: Any, kind: str) -> None:
    """Open a part of the page as a click on its summary does."""
    browser.execute_script(f"document.querySelector('details.{kind} > summary').click()")


def test_a_shell_answers_knows_its_size_and_what_it_logs_is_followed_and_searched(
    cluster: Cluster, admin: Any
) -> None:
    from selenium.webdriver.common.by import By

    admin.get(f"{base(cluster)}/task/{tasks(cluster)[0]}")
    opened(admin, "logs")
    opened(admin, "shell")

    def output() -> str:
        return texts(admin, ".shell pre")[0]

    def lines() -> list[str]:
        return [line.partition(" | ")[2] for line in texts(admin, ".logs pre > div")]

    def typed(line: str, selector: str = ".shell [name=line]") -> None:
        field = admin.find_element(By.CSS_SELECTOR, selector)
        field.clear()
        field.send_keys(f"{line}\n")

    cluster.wait(lambda: "complains" in lines(), WAIT_S, "the log")
    admin.find_element(By.CSS_SELECTOR, ".shell form button").click()
    cluster.wait(lambda: texts(admin, ".shell .said") == ["Open."], WAIT_S, "the shell")
    typed("echo $((6*7))x")
    cluster.wait(lambda: "42x" in output().split(), WAIT_S, "what the command says")
    assert "\x1b" not in output()

    def sizes() -> list[str]:
        return re.findall(r"^24 ([0-9]+)=", output(), re.MULTILINE)

    def columns() -> int:
        known = len(sizes())
        typed("echo $(stty size)=")
        cluster.wait(lambda: len(sizes()) > known, WAIT_S, "the size")
        return int(sizes()[-1])

    wide = columns()
    admin.set_window_size(700, 900)
    cluster.wait(lambda: columns() < wide, WAIT_S, "a narrower terminal")
    typed("echo followed >/proc/1/fd/1")
    cluster.wait(lambda: "followed" in lines(), WAIT_S, "the line in the log")
    typed("COMPL", ".logs [name=search]")
    cluster.wait(lambda: set(lines()) == {"complains"}, WAIT_S, "only what was searched for")
    typed("exit 3")
    cluster.wait(
        lambda: texts(admin, ".shell .said") == ["It ended with 3."], WAIT_S, "the shell's end"
    )


def test_a_node_is_drained_and_comes_back_by_its_buttons(cluster: Cluster, admin: Any) -> None:
    from selenium.webdriver.common.by import By

    admin.get(f"{base(cluster)}/")
    node = admin.execute_script("return document.querySelector('[data-node] a').href")

    def press(action: str, plan: str) -> None:
        admin.find_element(By.XPATH, f"//button[text()='{action}…']").click()
        cluster.wait(lambda: texts(admin, "#confirm"), WAIT_S, "the plan")
        assert any(plan in text for text in texts(admin, "main li"))
        admin.find_element(By.ID, "confirm").click()
        cluster.wait(lambda: admin.current_url == node, WAIT_S, "the node again")

    admin.get(node)
    press("Drain", "tasks move to other nodes")
    assert "drain" in texts(admin, "main p")[0]
    press("Activate", "it gets new tasks")
    cluster.wait(lambda: "2/2" in cluster.manager.cli("service", "ls"), WAIT_S, "two tasks again")
