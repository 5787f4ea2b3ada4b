"""docs/compose.md, made from the code: `python -m swarmlite.testing.reference` in a clone.

It says what becomes of each key of a compose file. The commands' pages: swarmlite.cli.reference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from swarmlite.stack import load
from swarmlite.stack.canonical import objects, older
from swarmlite.stack.canonical import service as long_form
from swarmlite.stack.service import beyond

MADE = "<!-- Made by `python -m swarmlite.testing.reference`: change the code, not this page. -->"
ELSEWHERE = {
    beyond.KEY: "see below",
    "build": "built by `stack deploy` and `stack build`, and given to the nodes from there",
    "depends_on": "its conditions hold over hosts; whom others wait for to complete is a job",
    "extends": "of this file or another",
    "profiles": "by `--profile` and COMPOSE_PROFILES",
    "restart": "becomes `deploy.restart_policy`",
}


def compose() -> str:
    """The page of compose files."""
    parts = [
        "# What becomes of each key of a compose file",
        MADE,
        "As `swarmlite stack deploy` reads it. What is ignored is named in a line of the"
        " deployment, with its place; what is refused or unknown is an error, with file, line and"
        " what was expected.",
        "## A service",
        *_table(("key", ""), ((f"`{key}`", _of_service(key)) for key in sorted(service_keys()))),
    ]  # fmt: skip
    sections: list[tuple[str, Iterable[str]]] = [
        ("A service's `x-swarmlite`: what compose has no keys for", beyond.KEYS),
        ("A service's `build`", long_form._BUILD),
        ("A service's `deploy`", long_form._DEPLOY),
        ("An item of `ports`, in its long form", long_form._PORT),
        ("An item of `volumes`, in its long form", long_form._MOUNT),
        ("The file as a whole", objects._TOP),
        ("A network", objects._NETWORK),
        ("A volume", objects._VOLUME),
        ("A secret", objects._SECRET),
        ("A config", objects._CONFIG),
        ("An item of `include`", objects._INCLUDE),
    ]
    for title, keys in sections:
        parts += [f"## {title}", ", ".join(f"`{key}`" for key in sorted(keys))]
    parts.append(
        "Networks, volumes, secrets and configs may also be `external`, and have a `name`. Coming"
        " from compose: [from-compose.md](from-compose.md)."
    )
    return "\n\n".join(parts) + "\n"


def service_keys() -> set[str]:
    """All that are known, also to be refused."""
    return {*load._KEYS, *long_form._SERVICE, *older.MOVED, beyond.KEY}


def _of_service(key: str) -> str:
    if key in older.MOVED:
        return f"becomes `deploy.{'.'.join(older.MOVED[key])}`"
    if key in load.REFUSED:
        return f"refused: {load.REFUSED[key]}"
    if key in long_form.REFUSED:
        return f"refused: {long_form.REFUSED[key]}"
    if key in load.IGNORED:
        return "ignored"
    return ELSEWHERE.get(key, "yes")


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    lines = [titles, ["---"] * len(list(titles)), *rows]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Write it."""
    folder = Path(__file__).parents[3] / "docs"
    if not folder.is_dir():
        print("this is no clone of swarmlite: there is no docs/ to write to", file=sys.stderr)
        return 1
    (folder / "compose.md").write_text(compose())
    return 0


if __name__ == "__main__":
    sys.exit(main())
