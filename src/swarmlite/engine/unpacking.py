"""Unpacking a client's tar into a directory of a container: `cp` to it.

Each member's place is opened below the container's root by the kernel, so that no name and no link,
in the archive or in the container, leads out of it.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from swarmlite.engine.streaming import ToThread
from swarmlite.errors import InvalidSpec
from swarmlite.kernel.paths import DIRECTORY, open_in_root

BLOCK_BYTES = 256 << 10
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacking:
    """One archive, on its way."""

    def __init__(self, source: ToThread, *, keep_owners: bool, keep_kinds: bool) -> None:
        """`keep_kinds`: a directory does not replace a file, nor a file a directory."""
        self._source = source
        self._keep_owners, self._keep_kinds = keep_owners, keep_kinds
        self._first_id, self._id_count = 0, 0

    def into(self, root: int, directory: str, first_id: int = 0, id_count: int = 0) -> None:
        """Unpack below `directory`. Raises InvalidSpec, OSError; what was written stays.

        `first_id`: the host's id that is the container's 0; `id_count`: how many it has, 0 for all.
        """
        self._first_id, self._id_count = first_id, id_count
        try:
            stream = cast("IO[bytes]", self._source)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    self._member(root, directory, archive, member)
        except tarfile.TarError as error:
            raise InvalidSpec(f"the archive is malformed: {error}") from error

    def _member(
        self, root: int, directory: str, archive: tarfile.TarFile, member: tarfile.TarInfo
    ) -> None:
        name = _clean(member.name)
        if not name:
            return  # the directory itself
        parent, last = posixpath.split(posixpath.join(directory, name))
        with _folder(root, parent) as folder:
            self._make_room(folder, last, member)
            if member.isdir():
                with contextlib.suppress(FileExistsError):
                    os.mkdir(last, 0o700, dir_fd=folder)
                self._describe(folder, last, member)
            elif member.isfile():
                self._file(folder, last, archive, member)
            elif member.issym():
                os.symlink(member.linkname, last, dir_fd=folder)
                self._own(folder, last, member)
            elif member.islnk():
                self._hardlink(root, directory, folder, last, member)
            else:
                self._special(folder, last, member)

    def _make_room(self, folder: int, last: str, member: tarfile.TarInfo) -> None:
        try:
            there = os.lstat(last, dir_fd=folder)
        except FileNotFoundError:
            return
        is_directory = stat.S_ISDIR(there.st_mode)
        if is_directory and member.isdir():
            return
        if self._keep_kinds and is_directory:
            raise InvalidSpec(f"cannot overwrite directory {last!r} with non-directory")
        if self._keep_kinds and member.isdir():
            raise InvalidSpec(f"cannot overwrite non-directory {last!r} with directory")
        if is_directory:
            os.rmdir(last, dir_fd=folder)
        else:
            os.unlink(last, dir_fd=folder)

    def _file(
        self, folder: int, last: str, archive: tarfile.TarFile, member: tarfile.TarInfo
    ) -> None:
        fd = os.open(last, NEW_FILE, 0o600, dir_fd=folder)
        with os.fdopen(fd, "wb") as file:
            content = archive.extractfile(member)
            while content is not None and (block := content.read(BLOCK_BYTES)):
                file.write(block)
            file.flush()
            self._own_file(fd, member)
            os.fchmod(fd, member.mode & 0o7777)
            os.utime(fd, (member.mtime, member.mtime))

    def _describe(self, folder: int, last: str, member: tarfile.TarInfo) -> None:
        fd = os.open(last, DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            self._own_file(fd, member)
            os.fchmod(fd, member.mode & 0o7777)
        finally:
            os.close(fd)

    def _own(self, folder: int, last: str, member: tarfile.TarInfo) -> None:
        if self._keep_owners or self._first_id:
            uid, gid = self._owner(member)
            os.chown(last, uid, gid, dir_fd=folder, follow_symlinks=False)

    def _own_file(self, fd: int, member: tarfile.TarInfo) -> None:
        if self._keep_owners or self._first_id:
            os.fchown(fd, *self._owner(member))

    def _owner(self, member: tarfile.TarInfo) -> tuple[int, int]:
        """On the host; what keeps no owner is the container's root's."""
        uid, gid = (member.uid, member.gid) if self._keep_owners else (0, 0)
        if self._id_count and max(uid, gid) >= self._id_count:
            raise InvalidSpec(
                f"{member.name}: owner {uid}:{gid} is not one of the container's "
                f"{self._id_count} ids"
            )
        return self._first_id + uid, self._first_id + gid

    def _hardlink(
        self, root: int, directory: str, folder: int, last: str, member: tarfile.TarInfo
    ) -> None:
        parent, name = posixpath.split(posixpath.join(directory, _clean(member.linkname)))
        with _folder(root, parent) as source:
            os.link(name, last, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def _special(self, folder: int, last: str, member: tarfile.TarInfo) -> None:
        if member.isfifo():
            os.mkfifo(last, 0o600, dir_fd=folder)
        elif member.isdev():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            device = os.makedev(member.devmajor, member.devminor)
            os.mknod(last, 0o600 | kind, device, dir_fd=folder)
        else:
            raise InvalidSpec(f"{member.name[:80]!r} is a type of file that cannot be unpacked")
        self._own(folder, last, member)
        # A FIFO and a device are no links: nobody but the container's root swaps them here.
        node = os.open(last, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{node}", member.mode & 0o7777)  # noqa: PTH101
        finally:
            os.close(node)


def _clean(name: str) -> str:
    """A member's name below the directory. Raises InvalidSpec for one that would leave it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise InvalidSpec(f"the archive holds the name {name[:80]!r}, which leads out of it")
    return "/".join(parts)


@contextlib.contextmanager
def _folder(root: int, path: str) -> Iterator[int]:
    """A directory below the root, made where it is missing."""
    try:
        fd = open_in_root(root, path, DIRECTORY)
    except FileNotFoundError:
        parent, last = posixpath.split(path)
        with _folder(root, parent) as above, contextlib.suppress(FileExistsError):
            os.mkdir(last, 0o755, dir_fd=above)
        fd = open_in_root(root, path, DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
