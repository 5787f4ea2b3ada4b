"""Contexts that are elsewhere: behind an HTTP address, or in a git repository.

Raises InvalidSpec for what an address says, Unavailable for who does not answer as they should.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from swarmlite.errors import Unavailable

TIMEOUT_S = 60.0
"""Without a byte of an answer."""
_GIT = re.compile(r"(git|ssh)://|git@[\w.-]+:|github\.com/")
_HTTP = re.compile(r"https?://")


def is_git(address: str) -> bool:
    """Whether a word names a repository: git@, git://, ssh://, or an address that ends in .git."""
    path = address.partition("#")[0]
    return bool(_GIT.match(address)) or (is_http(address) and path.endswith(".git"))


def is_http(address: str) -> bool:
    """Whether it is http:// or https://."""
    return bool(_HTTP.match(address))


@contextmanager
def download(address: str) -> Iterator[BinaryIO]:
    """What an address answers, read as it comes."""
    import ssl
    import urllib.error  # here: most builds never need it, and it is half of what they load
    import urllib.request
    from http.client import HTTPException

    request = urllib.request.Request(address, headers={"User-Agent": "swarmlite"})
    try:
        # With the authorities of now: since Python 3.13 the first call's are kept for all.
        trusted = ssl.create_default_context()
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S, context=trusted)
    except urllib.error.HTTPError as error:
        with error:
            raise Unavailable(
                f"{address}: the server answers {error.code} {error.reason}"
            ) from error
    except (urllib.error.URLError, HTTPException, ValueError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(f"{address} cannot be fetched: {reason}") from error
    with answer:
        yield _Whole(answer, address)  # type: ignore[misc]


class _Whole:
    """An answer that says so if it ends before its end."""

    def __init__(self, answer: BinaryIO, address: str) -> None:
        self._answer, self._address = answer, address
        length = getattr(answer, "length", None)
        self._left: int | None = length

    def read(self, size: int = -1) -> bytes:
        from http.client import HTTPException

        try:
            data = self._answer.read(size)
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self._address} broke off: {error}") from error
        if self._left is not None:
            self._left -= len(data)
            if not data and size and self._left > 0:
                raise Unavailable(f"{self._address} broke off: {self._left} bytes are missing")
        return data


@contextmanager
def checkout(address: str) -> Iterator[Path]:
    """The folder of a repository: ADDRESS[#REF[:FOLDER]], without its .git; gone afterwards."""
    import shutil  # here, as above
    import tempfile

    from swarmlite.build.git import Address, Checkout, Trust

    found = Address.parse(address)
    with tempfile.TemporaryDirectory(prefix="swarmlite-git-") as scratch:
        tree = Checkout(found, Path(scratch) / "context", Trust.OWN)
        tree.fetch()
        shutil.rmtree(Path(scratch) / "context" / ".git")
        yield tree.inside()
