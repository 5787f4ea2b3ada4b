"""Writes the members of a layer below one directory, as overlayfs wants them.

Whiteouts (OCI image-spec, layer.md) become overlayfs's own: a character device 0:0, or the
xattr trusted.overlay.opaque on a directory (Documentation/filesystems/overlayfs.rst).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from swarmlite.kernel.paths import DIRECTORY as OPEN_DIRECTORY
from swarmlite.kernel.paths import open_in_root
from swarmlite.storage import trees
from swarmlite.storage.images.types import Limits
from swarmlite.storage.images.unpack.errors import BadLayer, TooBig, shown
from swarmlite.storage.images.unpack.tar import (
    BLOCKDEV,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    Member,
    TarReader,
)

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"
_AUFS = ".wh..wh."
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_MAX_DEPTH = 400
_MAX_IMPLIED = 100_000
_CHECK_BYTES = 64 << 20
_CHECK_ENTRIES = 4096


class Extractor:
    """Unpacks into the directory descriptor `root`, which nobody else changes meanwhile.

    `base` says that no layer lies below, so that whiteouts mean nothing; `markers` keeps them as
    files, for a disk that cannot hold overlayfs's own. After `run`, `entries`
    and `size_bytes` count what was written and `implied` names directories without a member.
    """

    def __init__(
        self,
        root: int,
        limits: Limits,
        *,
        base: bool = False,
        markers: bool = False,
        exact: bool = False,
    ) -> None:
        """`exact`: this process has the umask 0, so that files can be made with their modes."""
        self._root = root
        self._limits = limits
        self._base = base
        self._markers = markers
        self._parent: tuple[str, int] | None = None
        self._exact = exact
        self._plain = False  # what is made in the parent is root's
        self._inherits = False  # some directory gives its files a list of access rights
        self._whiteouts: set[tuple[int, int, str]] = set()
        self._times: dict[str, float] = {}
        self._implied: dict[str, None] = {"": None}
        self._until_check = 0
        self._apparent = 0
        self.entries = 0
        self.size_bytes = 0

    @property
    def implied(self) -> list[str]:
        """Directories that had to be made without being described."""
        return list(self._implied)

    def run(self, tar: TarReader) -> None:
        """Unpack all members; raises BadLayer, TooBig and OSError, and leaves what was written."""
        try:
            for member in tar:
                self._count()
                try:
                    self._member(member, tar)
                except OSError as error:
                    raise _translated(error, member) from error
            self._set_directory_times()
        finally:
            self._forget_parent()

    # one member
    def _member(self, member: Member, tar: TarReader) -> None:
        path = clean_path(member.name)
        folder, _, name = path.rpartition("/")
        if path.count("/") > _MAX_DEPTH:
            raise BadLayer(f"member {shown(member.name)} lies more than {_MAX_DEPTH} deep")
        if _is_reserved(folder) or (name.startswith(WHITEOUT) and member.kind == DIRECTORY):
            raise BadLayer(f"member {shown(member.name)} lies in a directory named {WHITEOUT}*")
        if not name:
            self._root_member(member)
        elif name.startswith(WHITEOUT):
            self._whiteout(folder, name, member)
        else:
            self._entry(folder, name, member, tar)

    def _root_member(self, member: Member) -> None:
        if member.kind != DIRECTORY:
            raise BadLayer(f"member {shown(member.name)} would replace the root directory")
        self._implied.pop("", None)
        self._forget_parent()
        self._describe_directory(self._root, "", member)

    def _entry(self, folder: str, name: str, member: Member, tar: TarReader) -> None:
        parent = self._open_parent(folder)
        if member.kind == FILE:
            self._file(parent, name, member, tar)
            return
        opaque = self._make_room(parent, name, member)
        if member.kind == DIRECTORY:
            self._directory(parent, folder, name, member, opaque=opaque)
        elif member.kind == HARDLINK:
            self._hardlink(parent, name, member)
        elif member.kind == SYMLINK:
            os.symlink(member.linkname, name, dir_fd=parent)
            self._describe_by_name(parent, name, member)
        else:
            self._special(parent, name, member)

    def _directory(
        self, parent: int, folder: str, name: str, member: Member, *, opaque: bool
    ) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        path = f"{folder}/{name}" if folder else name
        self._implied.pop(path, None)
        fd = os.open(name, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            self._describe_directory(fd, path, member)
            if opaque and not self._base:
                os.setxattr(fd, OPAQUE_XATTR, b"y")
        finally:
            os.close(fd)

    def _describe_directory(self, fd: int, path: str, member: Member) -> None:
        os.fchown(fd, member.uid, member.gid)
        self._set_xattrs(fd, member)
        os.fchmod(fd, member.mode)
        self._times[path] = member.mtime

    def _file(self, parent: int, name: str, member: Member, tar: TarReader) -> None:
        # With as few calls as can be: most of a layer's members are files of nothing special.
        plain = self._exact and not self._inherits and not member.mode & ~0o777
        mode = member.mode if plain else 0o600
        try:
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent)
        except FileExistsError:
            self._make_room(parent, name, member)
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent)
        try:
            if member.runs is None:
                for piece in tar.data():
                    self._write(fd, piece)
            else:
                self._sparse(fd, member, tar)
            if member.uid or member.gid or not self._plain:
                os.fchown(fd, member.uid, member.gid)
            if member.xattrs:
                self._set_xattrs(fd, member)  # after the owner: its change drops capabilities
            if not plain or member.xattrs:
                os.fchmod(fd, member.mode)
            os.utime(fd, ns=_nanoseconds(member.mtime))
        finally:
            os.close(fd)

    def _sparse(self, fd: int, member: Member, tar: TarReader) -> None:
        """A file with holes: they take no disk, but whoever copies the file pays for them."""
        self._apparent += member.real_size
        if self._apparent > self._limits.bytes:
            raise TooBig(f"its sparse files are longer than {self._limits.bytes >> 20} MiB")
        data = _Runs(tar.data())
        for offset, length in member.runs or ():
            os.lseek(fd, offset, os.SEEK_SET)
            for piece in data.take(length):
                self._write(fd, piece)
        os.ftruncate(fd, member.real_size)

    def _write(self, fd: int, piece: bytes) -> None:
        self.size_bytes += len(piece)
        self._until_check -= len(piece)
        if self._until_check <= 0:
            self._check_disk()
        written = os.write(fd, piece)
        while written < len(piece):
            written += os.write(fd, memoryview(piece)[written:])

    def _hardlink(self, parent: int, name: str, member: Member) -> None:
        target = clean_path(member.linkname)
        folder, _, last = target.rpartition("/")
        if not last or _is_reserved(target):
            raise BadLayer(f"member {shown(member.name)} is a hard link to {shown(target)}")
        try:
            source = open_in_root(self._root, folder)
        except FileNotFoundError as error:
            raise _no_target(member) from error
        try:
            if (*_identity(source), last) in self._whiteouts:
                raise _no_target(member)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, PermissionError) as error:
            raise _no_target(member) from error
        finally:
            os.close(source)

    def _special(self, parent: int, name: str, member: Member) -> None:
        kinds = {CHARACTER: stat.S_IFCHR, BLOCKDEV: stat.S_IFBLK, FIFO: stat.S_IFIFO}
        major, minor = member.device
        if member.kind == CHARACTER and (major, minor) == (0, 0):
            raise BadLayer(
                f"member {shown(member.name)} is a character device 0:0, overlayfs's whiteout"
            )
        if major > 0xFFF or minor > 0xFFFFF:
            raise BadLayer(f"member {shown(member.name)} is the device {major}:{minor}")
        device = 0 if member.kind == FIFO else os.makedev(major, minor)
        os.mknod(name, kinds[member.kind] | 0o600, device, dir_fd=parent)
        self._describe_by_name(parent, name, member)

    def _describe_by_name(self, parent: int, name: str, member: Member) -> None:
        os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if member.kind != SYMLINK:  # ours since a moment, and no link
            os.chmod(name, member.mode, dir_fd=parent)
        times = _nanoseconds(member.mtime)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
        for key in member.xattrs:
            _check_xattr(key, member)

    # whiteouts
    def _whiteout(self, folder: str, name: str, member: Member) -> None:
        hidden = name[len(WHITEOUT) :]
        if hidden in ("", ".", ".."):
            raise BadLayer(f"member {shown(member.name)} is the whiteout of no file")
        if self._markers and not self._base and (name == OPAQUE or not name.startswith(_AUFS)):
            self._marker(self._open_parent(folder), name)
            return
        if name == OPAQUE:
            parent = self._open_parent(folder)
            if not self._base:
                os.setxattr(parent, OPAQUE_XATTR, b"y")
            return
        if name.startswith(_AUFS) or self._base:
            return  # aufs's own book-keeping; or nothing below to hide
        parent = self._open_parent(folder)
        try:
            mode = os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            os.mknod(hidden, stat.S_IFCHR | 0o600, 0, dir_fd=parent)
            self._whiteouts.add((*_identity(parent), hidden))
            return
        # a whiteout hides what lies below, never what this layer itself brings
        if stat.S_ISDIR(mode):
            fd = os.open(hidden, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                os.setxattr(fd, OPAQUE_XATTR, b"y")
            finally:
                os.close(fd)

    def _marker(self, parent: int, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o600, dir_fd=parent))

    def _make_room(self, parent: int, name: str, member: Member) -> bool:
        """Take away what stands at `name`; whether it was a whiteout. Directories merge."""
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(mode):
            if member.kind != DIRECTORY:
                self._forget_parent(keep=parent)
                trees.remove(Path(name), dir_fd=parent)
            return False
        os.unlink(name, dir_fd=parent)
        key = (*_identity(parent), name)
        whiteout = key in self._whiteouts
        self._whiteouts.discard(key)
        return whiteout

    # directories
    def _open_parent(self, folder: str) -> int:
        """A descriptor of `folder`, made if need be; valid until the next call."""
        if self._parent is not None and self._parent[0] == folder:
            return self._parent[1]
        self._forget_parent()
        fd = self._open_or_make(folder, _MAX_LINKS)
        self._parent = (folder, fd)
        # of a directory with setgid, what is made in it takes the group
        self._plain = not os.geteuid() and not os.fstat(fd).st_mode & stat.S_ISGID
        return fd

    def _forget_parent(self, keep: int = -1) -> None:
        """Close the cached parent; with `keep` only let no later member find it by its path."""
        if self._parent is None:
            return
        if self._parent[1] == keep:
            self._parent = ("\0", keep)
        else:
            os.close(self._parent[1])
            self._parent = None

    def _open_or_make(self, folder: str, links_left: int) -> int:
        try:
            return open_in_root(self._root, folder)
        except FileNotFoundError:
            pass
        above, _, name = folder.rpartition("/")
        parent = self._open_or_make(above, links_left)
        try:
            opaque = self._replace_whiteout(parent, name)
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
                self._imply(folder)
            except FileExistsError:  # a symlink whose target this layer lacks
                target = clean_path(_beside(above, os.readlink(name, dir_fd=parent)), clamp=True)
                if not links_left:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), folder) from None
                return self._open_or_make(target, links_left - 1)
            fd = os.open(name, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            if opaque:
                os.setxattr(fd, OPAQUE_XATTR, b"y")
            return fd
        finally:
            os.close(parent)

    def _replace_whiteout(self, parent: int, name: str) -> bool:
        key = (*_identity(parent), name)
        if key not in self._whiteouts:
            return False
        os.unlink(name, dir_fd=parent)
        self._whiteouts.discard(key)
        return True

    def _imply(self, folder: str) -> None:
        self._implied[folder] = None
        if len(self._implied) > _MAX_IMPLIED:
            raise TooBig(f"more than {_MAX_IMPLIED} directories of it are not described")
        self._count()

    def _set_directory_times(self) -> None:
        for path, mtime in self._times.items():
            try:
                fd = open_in_root(self._root, path, follow=False)
            except OSError:
                continue  # replaced by a later member
            try:
                os.utime(fd, ns=_nanoseconds(mtime))
            finally:
                os.close(fd)

    def _set_xattrs(self, fd: int, member: Member) -> None:
        for key, value in member.xattrs.items():
            if not _check_xattr(key, member):
                continue
            try:
                os.setxattr(fd, key, value)
                self._inherits |= key == "system.posix_acl_default"
            except OSError as error:
                # a disk without ACLs or user attributes is no reason to refuse an image
                if key == "security.capability" or error.errno == errno.ENOSPC:
                    raise

    # limits
    def _count(self) -> None:
        self.entries += 1
        if self.entries > self._limits.entries:
            raise TooBig(f"it has more than {self._limits.entries} entries")
        if self.entries % _CHECK_ENTRIES == 0:
            self._check_disk()

    def _check_disk(self) -> None:
        self._until_check = _CHECK_BYTES
        disk = os.fstatvfs(self._root)
        free = disk.f_bavail * disk.f_frsize
        if free < self._limits.free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if disk.f_files and disk.f_favail < self._limits.free_inodes:
            raise OSError(errno.ENOSPC, "too few inodes are left")


class _Runs:
    """Gives out a stream of pieces by lengths."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def take(self, length: int) -> Iterator[bytes]:
        while length:
            self._rest = self._rest or next(self._pieces)
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= len(piece)
            yield piece


def clean_path(name: str, *, clamp: bool = False) -> str:
    """`name` relative to the root, without `.` and `..`; raises BadLayer where `..` leaves it."""
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        elif not clamp:
            raise BadLayer(f"member {shown(name)} points outside of the layer")
    return "/".join(parts)


def _beside(folder: str, target: str) -> str:
    return target if target.startswith("/") else f"{folder}/{target}"


def _is_reserved(path: str) -> bool:
    return path.startswith(WHITEOUT) or f"/{WHITEOUT}" in path


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _no_target(member: Member) -> BadLayer:
    return BadLayer(
        f"member {shown(member.name)} is a hard link to {shown(member.linkname)}, "
        "which is no file of the same layer"
    )


def _nanoseconds(mtime: float) -> tuple[int, int]:
    seconds = min(max(mtime, -(1 << 31)), float(1 << 33)) if mtime == mtime else 0.0
    value = int(seconds * 1_000_000_000)
    return value, value


def _check_xattr(key: str, member: Member) -> bool:
    """Whether to set it; raises BadLayer for what would steer overlayfs or the kernel."""
    if key.startswith("trusted."):
        raise BadLayer(f"member {shown(member.name)} carries the attribute {shown(key)}")
    if key.startswith("user."):
        return not key.startswith("user.overlay.")
    return key in ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


def _translated(error: OSError, member: Member) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE):
        return error
    return BadLayer(f"member {shown(member.name)} cannot be unpacked: {error.strerror}")


def inherit(root: int, lowers: Iterator[int], path: str) -> None:
    """Give the directory `path` the owner, mode and time that it has in the layers below.

    `lowers` are their descriptors, topmost first. A directory that a layer does not describe
    would else cover the one below with default attributes.
    """
    for lower in lowers:
        try:
            below = open_in_root(lower, path, follow=False)
        except OSError:
            continue
        try:
            status = os.fstat(below)
        finally:
            os.close(below)
        above = open_in_root(root, path, follow=False)
        try:
            os.fchown(above, status.st_uid, status.st_gid)
            os.fchmod(above, stat.S_IMODE(status.st_mode))
            os.utime(above, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(above)
        return
