"""What is imported, what pyproject.toml declares and what requirements.lock has are one thing."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PRODUCT = ROOT / "src" / "swarmlite"
TESTING = PRODUCT / "testing"
PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13; one lock serves both

TOOLS = {"import-linter", "mypy", "mypy-protobuf", "pre-commit", "pytest-timeout", "ruff"}
"""Declared for development and run, never imported."""
STUBS = re.compile(r"types-.*")


def declared() -> dict[str, list[Requirement]]:
    """Of pyproject.toml: "" has the product's own, the others are those of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return {
        "": [Requirement(line) for line in project["dependencies"]],
        "dev": [Requirement(line) for line in extras["dev"]],
        "top": [Requirement(line) for line in extras["top"]],
    }


def names(requirements: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def imported(paths: Iterable[Path]) -> set[str]:
    """The distributions that provide what these files import, lazily too."""
    of_module = packages_distributions()
    found: set[str] = set()
    for path in paths:
        for module in modules(path):
            top = module.partition(".")[0]
            if module.startswith("google.protobuf"):
                found.add("protobuf")
            elif top not in sys.stdlib_module_names and top in of_module:
                found.update(canonicalize_name(name) for name in of_module[top])
    return found - {"swarmlite"}


@functools.cache
def modules(path: Path) -> list[str]:
    """What a file imports, anywhere in it."""
    return list(_modules(ast.parse(path.read_text())))


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (each.value for each in node.args[:1] if isinstance(each, ast.Constant))


def product_files() -> list[Path]:
    """Without `testing`, and without what makes the stubs: both are of the clone."""
    return [
        path
        for path in PRODUCT.rglob("*.py")
        if TESTING not in path.parents and path != PRODUCT / "proto" / "generate.py"
    ]


def test_the_product_imports_what_it_declares_and_nothing_else() -> None:
    """An extra's in its own room only."""
    files = product_files()
    extra = {path for path in files if path.parent == PRODUCT / "cli" / "dashboard"}
    own, top = names(declared()[""]), names(declared()["top"])
    assert imported(path for path in files if path not in extra) == own
    assert imported(extra) == top


def test_tests_and_tools_import_what_is_declared() -> None:
    wanted = imported(
        p for folder in ("src", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")
    )
    own, dev = names(declared()[""]), names(declared()["dev"])
    assert wanted - own - dev - {"packaging"} == set()  # pytest's own
    unused = {name for name in dev - wanted - TOOLS if not STUBS.fullmatch(name)}
    assert unused == set()


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().split()
    return {canonicalize_name(n): v for n, _, v in (line.partition("==") for line in lines)}


def needed() -> set[str]:
    """What is declared, and what that needs, on each Python."""
    found: set[str] = set()
    for python in PYTHONS:
        queue = [each for requirements in declared().values() for each in requirements]
        seen: set[tuple[str, frozenset[str]]] = set()
        while queue:
            requirement = queue.pop()
            key = canonicalize_name(requirement.name), frozenset(requirement.extras)
            if key in seen:
                continue
            seen.add(key)
            for line in distribution(requirement.name).requires or []:
                further = Requirement(line)
                if applies(further, python, requirement.extras):
                    queue.append(further)
        found |= {name for name, _ in seen}
    return found


def applies(requirement: Requirement, python: str, extras: set[str]) -> bool:
    if requirement.marker is None:
        return True
    version = {"python_version": python, "python_full_version": f"{python}.0"}
    return any(requirement.marker.evaluate({**version, "extra": e}) for e in (extras or {""}))


def test_the_lock_has_what_is_declared_and_needed_and_no_more() -> None:
    assert set(locked()) == needed()


def test_the_lock_is_within_the_declared_ranges() -> None:
    versions = locked()
    outside = [
        f"{requirement} is locked at {versions[canonicalize_name(requirement.name)]}"
        for requirements in declared().values()
        for requirement in requirements
        if not requirement.specifier.contains(versions[canonicalize_name(requirement.name)])
    ]
    assert outside == []
