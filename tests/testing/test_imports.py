"""swarmlite.testing is for whoever installs the package, and no part of what runs on a node."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

PRODUCT = Path(__file__).parents[2] / "src" / "swarmlite"

LOAD_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
loaded = [name for name in sys.modules if name.startswith("swarmlite.testing")]
foreign = [name for name in ("pytest", "hypothesis") if name in sys.modules]
print(json.dumps(loaded + foreign))
"""


def product_modules() -> list[str]:
    """All but `testing`, what runs when it is imported, and what makes the stubs in a clone."""
    found = []
    for path in PRODUCT.rglob("*.py"):
        parts = path.relative_to(PRODUCT.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if parts[1] != "testing" and parts[-1] not in ("__main__", "generate"):
            found.append(name)
    return sorted(found)


def test_every_module_of_the_product_loads_without_testing_or_what_only_tests_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, *product_modules()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_only_the_dev_verbs_name_testing_and_only_by_a_late_import() -> None:
    named = set()
    for path in PRODUCT.rglob("*.py"):
        text = path.read_text()
        if PRODUCT / "testing" in path.parents or "swarmlite.testing" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            imported = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [imported]
            assert not any(n.startswith("swarmlite.testing") for n in names), path
            if isinstance(node, ast.Constant) and str(node.value).startswith("swarmlite.testing."):
                named.add(str(path.relative_to(PRODUCT)))
    assert named <= {"cli/dev/cluster.py"}


def test_users_import_it_and_its_plugin_loads_little() -> None:
    """pytest loads the plug-in in every run of whoever installs the package."""
    public = "from swarmlite.testing import Cluster, CommandFailed, Host"
    subprocess.run([sys.executable, "-c", public], check=True)
    light = "import sys, pytest, importlib.metadata as m;"
    light += "[e.load() for e in m.entry_points(group='pytest11') if e.name == 'swarmlite'];"
    light += "sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light]).returncode == 0
