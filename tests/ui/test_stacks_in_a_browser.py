"""A stack's file in chromium: pasted, dropped, wrong, deployed as it was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from page_client import WAIT_S, base, keep_screenshot, texts

from swarmlite.testing import Cluster

pytestmark = pytest.mark.timeout(600)
FILE = """services:
  app:
    image: IMAGE
    command: [sleep, "1000"]
    deploy:
      replicas: 1
"""


def pasted(browser: Any, text: str) -> None:
    """Into the file's field, in the place of what is there, by the clipboard and its keys."""
    browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    browser.execute_script("document.getElementById('file').focus()")
    script = "navigator.clipboard.writeText(arguments[0]).then(arguments[1])"
    browser.execute_async_script(script, text)
    for key, command in (("a", "selectAll"), ("v", "paste")):
        event = {"type": "keyDown", "modifiers": 2, "key": key, "commands": [command]}
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", event)
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", event | {"type": "keyUp"})


def dropped(browser: Any, file: Path) -> None:
    """On the file's field, as from a file manager."""
    script = """const box = document.getElementById('file').getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]"""
    x, y = browser.execute_script(script)
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": x, "y": y, "data": data}
        browser.execute_cdp_cmd("Input.dispatchDragEvent", event)


def pressed(browser: Any, button: str) -> None:
    browser.execute_script("document.getElementById(arguments[0]).click()", button)


def file_of(browser: Any) -> str:
    """What stands in the field."""
    text: str = browser.execute_script("return document.getElementById('file').value")
    return text


def replicas(cluster: Cluster) -> str:
    """Of the one service of the stack."""
    shown = "{{.Name}} {{.Replicas}}"
    services = cluster.manager.cli("stack", "services", "--format", shown, "sold")
    return services.strip()


def test_a_file_is_pasted_put_right_and_deployed_and_dropped_and_deployed_again(
    cluster: Cluster, admin: Any, image: list[str], tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By

    good = FILE.replace("IMAGE", image[0])
    admin.get(f"{base(cluster)}/deploy")
    admin.find_element(By.NAME, "name").send_keys("sold")
    pasted(admin, good.replace("command", "comand"))
    cluster.wait(lambda: "comand" in file_of(admin), WAIT_S, "the pasted file")
    pressed(admin, "plan")
    cluster.wait(lambda: texts(admin, ".problem button"), WAIT_S, "what is wrong")
    assert any("stdin:4" in text and "comand" in text for text in texts(admin, ".problem"))
    assert texts(admin, ".problem button") == ["Line 4"]
    admin.execute_script("document.querySelector('.problem button').click()")
    script = """const file = document.getElementById('file');
        return file.value.slice(file.selectionStart, file.selectionEnd)"""
    cluster.wait(
        lambda: admin.execute_script(script) == '    comand: [sleep, "1000"]', WAIT_S, "the line"
    )
    pasted(admin, good)
    cluster.wait(lambda: file_of(admin) == good, WAIT_S, "the file that is right")
    pressed(admin, "plan")
    cluster.wait(lambda: texts(admin, "#confirm"), WAIT_S, "what it would do")
    assert "+ service sold_app" in texts(admin, "#diff")[0]
    keep_screenshot(admin, "deploy")
    pressed(admin, "confirm")
    stack = f"{base(cluster)}/stack/sold"
    cluster.wait(lambda: admin.current_url == stack, WAIT_S, "the stack's page")
    cluster.wait(lambda: replicas(cluster) == "sold_app 1/1", WAIT_S, "the task")

    admin.get(f"{base(cluster)}/deploy")
    admin.find_element(By.NAME, "name").send_keys("sold")
    huge, more = tmp_path / "huge.yml", tmp_path / "stack.yml"
    huge.write_text("#" * 5_000_000)
    dropped(admin, huge)
    said = ["huge.yml is larger than 4 MiB."]
    cluster.wait(lambda: texts(admin, ".said") == said, WAIT_S, "why it is not taken")
    more.write_text(good.replace("replicas: 1", "replicas: 2"))
    dropped(admin, more)
    cluster.wait(lambda: texts(admin, ".said") == ["stack.yml was read."], WAIT_S, "the file")
    assert "replicas: 2" in file_of(admin)
    pressed(admin, "plan")
    cluster.wait(lambda: texts(admin, "#confirm"), WAIT_S, "what it would do")
    assert "~ service sold_app (no task is replaced)" in texts(admin, "#diff")[0]
    pressed(admin, "confirm")
    cluster.wait(lambda: admin.current_url == stack, WAIT_S, "the stack's page")
    cluster.wait(lambda: replicas(cluster) == "sold_app 2/2", WAIT_S, "both tasks")

    admin.execute_script("document.querySelector('.doing button').click()")
    cluster.wait(lambda: texts(admin, "#confirm"), WAIT_S, "what would go")
    assert "service sold_app" in texts(admin, "main li")
    pressed(admin, "confirm")
    stacks = f"{base(cluster)}/stacks"
    cluster.wait(lambda: admin.current_url == stacks, WAIT_S, "the stacks that are left")
