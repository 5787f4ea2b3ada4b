"""What ADD fetches: files by http and https, and git repositories where there is a git."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import os
import posixpath
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from swarmlite.build.git import Address, Checkout, Trust
from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    SwarmliteError,
    Unavailable,
)
from swarmlite.model.references import is_digest
from swarmlite.storage.images.flight import in_thread

_GIT = re.compile(r"(?:git://|git@|ssh://|https?://[^#]*\.git(?:#|$|\?))")
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_CHUNK = 256 << 10
MAX_BYTES = 64 << 30
Status = Callable[..., None]


@dataclass(frozen=True)
class Fetched:
    """A file of the folder by the name that it is to have, or the whole folder."""

    path: str = ""
    name: str = ""
    is_tree: bool = False


def is_remote(word: str) -> bool:
    """Whether a source of ADD is a URL or a git repository."""
    return word.startswith(("http://", "https://")) or _GIT.match(word) is not None


async def fetch(
    url: str,
    folder: Path,
    *,
    checksum: str,
    keep_git_dir: bool,
    status: Status,
    proxies: Mapping[str, str],
) -> Fetched:
    """Bring it into a new folder. Raises NotFound, Unavailable, InvalidSpec, FailedPrecondition."""
    folder.mkdir(mode=0o755)
    if _GIT.match(url):
        return await _git(url, folder, checksum, keep=keep_git_dir)
    return await _download(url, folder, checksum, status, proxies)


async def _download(
    url: str, folder: Path, checksum: str, status: Status, proxies: Mapping[str, str]
) -> Fetched:
    if checksum and not is_digest(checksum):
        raise InvalidSpec(f"--checksum={checksum[:80]}: expected sha256: and 64 digits")
    algorithm = checksum.partition(":")[0] or "sha256"
    parts = urlsplit(url)
    path = folder / "file"
    proxy = proxies.get(f"{parts.scheme}_proxy") or proxies.get(f"{parts.scheme.upper()}_PROXY")
    try:
        async with (
            aiohttp.ClientSession(
                timeout=_TIMEOUT, trust_env=True, auto_decompress=False
            ) as session,
            session.get(url, proxy=proxy, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status == 404:
                raise NotFound(f"ADD {url}: 404 Not Found")
            if response.status >= 400:
                raise Unavailable(f"ADD {url}: invalid response status {response.status}")
            digest = await _receive(response, path, algorithm, url, status)
            name = _name(url, response.headers.get("Content-Disposition", ""))
            modified = response.headers.get("Last-Modified", "")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unavailable(f"ADD {url}: {error or 'it takes too long'}") from error
    if checksum and digest != checksum:
        raise FailedPrecondition(f"digest mismatch {digest}: {checksum}")
    path.chmod(0o600)
    moment = _moment(modified)
    os.utime(path, (moment, moment))
    return Fetched("file", name)


async def _receive(
    response: aiohttp.ClientResponse, path: Path, algorithm: str, url: str, status: Status
) -> str:
    state, have = hashlib.new(algorithm), 0
    total = response.content_length or 0
    with path.open("xb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK):
            state.update(chunk)
            have += len(chunk)
            if have > MAX_BYTES:
                raise FailedPrecondition(f"ADD {url}: it is longer than {MAX_BYTES >> 30} GiB")
            await asyncio.to_thread(file.write, chunk)
    status(url, "downloading", current=have, total=total or have, done=True)
    return f"{algorithm}:{state.hexdigest()}"


def _name(url: str, disposition: str) -> str:
    match = re.search(r'filename="?([^";/\\]+)"?', disposition)
    name = match.group(1) if match else posixpath.basename(unquote(urlsplit(url).path))
    return "" if name in (".", "..") or "\0" in name else name


def _moment(text: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, IndexError):
        return 0


async def _git(url: str, folder: Path, checksum: str, *, keep: bool) -> Fetched:
    tree = folder.with_name(folder.name + "-git")
    try:
        checkout = Checkout(Address.parse(url), tree, Trust.NOBODYS)
        try:
            commit = await _in_thread_until(checkout.fetch, checkout.stop)
            if checksum and not commit.startswith(checksum):
                raise FailedPrecondition(f"expected checksum {checksum}, found {commit}")
            return await in_thread(lambda: _moved(checkout, tree, folder, keep=keep))
        finally:
            await in_thread(lambda: shutil.rmtree(tree, ignore_errors=True))
    except SwarmliteError as error:
        raise type(error)(f"ADD {url}: {str(error).removeprefix(f'{url}: ')}") from error


async def _in_thread_until(work: Callable[[], str], stop: Callable[[], None]) -> str:
    """What `work` comes to, in a thread; cancelled, it is stopped and waited for."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([task])
        task.exception()  # seen
        raise


def _moved(checkout: Checkout, tree: Path, folder: Path, *, keep: bool) -> Fetched:
    if not keep:
        shutil.rmtree(tree / ".git")
    place = checkout.inside()
    shutil.rmtree(folder)
    place.rename(folder)
    return Fetched(is_tree=True)
