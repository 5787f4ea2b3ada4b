"""Contexts: names for nodes, kept in the user's own folder.

`~/.swarmlite` (or SWARMLITE_CONFIG) holds `contexts/NAME/context.json`, the PEM files beside it
with mode 0600, and `contexts/current`, which names the one that is used where nothing else is said.
The context `default` is this host's node and is always there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmlite.client.reach import address
from swarmlite.client.reach.address import Certificates
from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, NotFound
from swarmlite.kernel import durable

DEFAULT = "default"
PEM_FILES = ("ca", "cert", "key")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]{0,127}")


@dataclass(frozen=True)
class Context:
    """One; `pem` holds the text of its certificates by their names in PEM_FILES."""

    name: str
    host: str
    description: str = ""
    pem: Mapping[str, bytes] = field(default_factory=dict)
    skip_verify: bool = False
    in_clear: bool = False

    def document(self) -> dict[str, Any]:
        """What context.json says."""
        return {
            "name": self.name,
            "description": self.description,
            "host": self.host,
            "skip_tls_verify": self.skip_verify,
            "in_clear": self.in_clear,
        }


def from_document(document: Any, pem: Mapping[str, bytes], where: str) -> Context:
    """What `document` says. Raises InvalidSpec naming `where` it came from."""
    if not isinstance(document, dict) or not isinstance(document.get("host"), str):
        raise InvalidSpec(f"{where}: not a context: it names no host")
    made = Context(
        name=str(document.get("name", "")),
        host=document["host"],
        description=str(document.get("description", "")),
        pem=dict(pem),
        skip_verify=document.get("skip_tls_verify") is True,
        in_clear=document.get("in_clear") is True,
    )
    address.check(made.host)
    return made


def check_name(name: str) -> str:
    """The name. Raises InvalidSpec."""
    if name == DEFAULT:
        raise InvalidSpec(f'"{DEFAULT}" is a reserved context name: it is this host\'s node')
    if not _NAME.fullmatch(name):
        raise InvalidSpec(
            f"context name {name[:60]!r} is invalid: expected letters, digits and _.+-,"
            " and one of the former two first"
        )
    return name


class Contexts:
    """The contexts of one user."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: elsewhere than in the user's own."""
        chosen = folder or os.environ.get("SWARMLITE_CONFIG") or Path("~/.swarmlite").expanduser()
        self._folder = Path(chosen) / "contexts"

    def folder(self, name: str) -> Path:
        """Where a context's files are."""
        return self._folder / name

    def names(self) -> list[str]:
        """All but `default`, sorted."""
        try:
            found = [each.parent.name for each in self._folder.glob("*/context.json")]
        except OSError:
            return []
        return sorted(name for name in found if _NAME.fullmatch(name))

    def get(self, name: str) -> Context:
        """Raises NotFound, and InvalidSpec for a file that says no context."""
        path = self.folder(check_name(name)) / "context.json"
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise NotFound(f'context "{name}" does not exist') from error
        except (OSError, ValueError) as error:
            raise InvalidSpec(f"{path} cannot be read: {error}") from error
        pem = {each: self._pem(name, each) for each in PEM_FILES}
        document = {**document, "name": name} if isinstance(document, dict) else document
        return from_document(document, {k: v for k, v in pem.items() if v}, str(path))

    def _pem(self, name: str, each: str) -> bytes:
        try:
            return (self.folder(name) / f"{each}.pem").read_bytes()
        except FileNotFoundError:
            return b""

    def certificates(self, context: Context) -> Certificates:
        """Its files, as they lie here."""
        folder = self.folder(context.name)
        paths = {each: folder / f"{each}.pem" for each in context.pem}
        return Certificates(**paths, skip_verify=context.skip_verify, in_clear=context.in_clear)

    def add(self, context: Context) -> None:
        """Raises AlreadyExists, and FailedPrecondition where it cannot be written."""
        if self.folder(check_name(context.name)).exists():
            raise AlreadyExists(f'context "{context.name}" already exists')
        self.write(context)

    def write(self, context: Context) -> None:
        """Made or changed, whole. Raises FailedPrecondition."""
        folder = self.folder(check_name(context.name))
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in PEM_FILES:
                path = folder / f"{each}.pem"
                if each in context.pem:
                    durable.write(path, context.pem[each])
                else:
                    path.unlink(missing_ok=True)
            text = json.dumps(context.document(), indent=2)
            durable.write(folder / "context.json", text.encode())
        except OSError as error:
            raise FailedPrecondition(f"{folder} cannot be written: {error.strerror}") from error

    def remove(self, name: str, *, force: bool = False) -> None:
        """Raises NotFound, and FailedPrecondition for the current one unless `force`."""
        if not self.folder(check_name(name)).exists():
            raise NotFound(f'context "{name}" does not exist')
        if self.current() == name:
            if not force:
                raise FailedPrecondition(
                    f'context "{name}" is in use: use another one first, or --force'
                )
            self.use(DEFAULT)
        shutil.rmtree(self.folder(name))

    def current(self) -> str:
        """The one that `use` chose last."""
        try:
            return (self._folder / "current").read_text().strip() or DEFAULT
        except OSError:
            return DEFAULT

    def use(self, name: str) -> None:
        """From now on, where nothing else is said. Raises NotFound, FailedPrecondition."""
        if name != DEFAULT:
            self.get(name)
        path = self._folder / "current"
        try:
            if name == DEFAULT:
                path.unlink(missing_ok=True)
                return
            durable.write(path, f"{name}\n".encode())
        except OSError as error:
            raise FailedPrecondition(f"{path} cannot be written: {error.strerror}") from error
