"""The endpoints of secrets and configs, by the process in front of a manager without an engine."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))

from raw_host import Unix

WAIT_S = 60.0


@pytest.fixture
def api(world: Any) -> Iterator[Any]:
    """Asks the process; there is no engine, and none is needed."""
    folder = Path(os.environ["SWARMLITE_RUN_DIR"])
    path = folder / "docker.sock"
    words = [sys.executable, "-m", "swarmlite.gateway", "--idle=0", "--socket", str(path)]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)

    def ask(method: str, target: str, body: Any = None) -> tuple[int, Any]:

        connection = Unix(path)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, target, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.strip() else None
        finally:
            connection.close()

    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                ask("GET", "/version")
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
        yield ask
    finally:
        process.terminate()
        process.wait(WAIT_S)


@pytest.mark.parametrize("kind", ["secrets", "configs"])
def test_a_payload_s_life(api: Any, kind: str) -> None:
    """Made, listed, filtered, shown, relabelled by its version, removed."""
    data = base64.b64encode(b"value").decode()
    status, made = api(
        "POST", f"/{kind}/create", {"Name": "one", "Data": data, "Labels": {"a": "b"}}
    )
    assert status == 201
    api("POST", f"/{kind}/create", {"Name": "two", "Data": data})
    status, found = api("GET", f"/{kind}")
    assert (status, sorted(each["Spec"]["Name"] for each in found)) == (200, ["one", "two"])
    filtered = f'/{kind}?filters={{"label":["a=b"]}}'
    assert [each["ID"] for each in api("GET", filtered)[1]] == [made["ID"]]
    assert api("GET", f'/{kind}?filters={{"nothing":["x"]}}')[0] == 400
    _, shown = api("GET", f"/{kind}/one")
    assert ("Data" in shown["Spec"]) == (kind == "configs")
    path = f"/{kind}/{made['ID']}/update?version={shown['Version']['Index']}"
    spec = {"Name": "one", "Labels": {"c": "d"}}
    assert api("POST", path, spec) == (200, None)
    assert api("GET", f"/{kind}/one")[1]["Spec"]["Labels"] == {"c": "d"}
    assert "out of sequence" in api("POST", path, spec | {"Labels": {}})[1]["message"]
    assert api("DELETE", f"/{kind}/one") == (204, None)
    assert api("GET", f"/{kind}/one")[0] == 404
    templated = {"Name": "t", "Data": data, "Templating": {"Name": "golang"}}
    assert api("POST", f"/v1.36/{kind}/create", templated)[0] == 400
    assert api("GET", "/containers/json")[0] == 503
