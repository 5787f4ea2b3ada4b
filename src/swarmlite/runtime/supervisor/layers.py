"""Mounts that are made before they have a place: binds, the image's overlay, /proc of a namespace.

All of it takes the powers of the host: in a user namespace it is done before that is entered.
"""

from __future__ import annotations

import errno
import os

from swarmlite.kernel import mounting, namespaces, paths, processes
from swarmlite.kernel.mounting import AT_EMPTY_PATH, AT_RECURSIVE, OPEN_TREE_CLONE
from swarmlite.runtime import lean
from swarmlite.runtime.oci.mounts import Mount

DATA_BYTES = 4000  # mount(2) passes one page
OPTION_BYTES = 256  # of fsconfig(2)
IN_TREE = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS
Data = list[tuple[bytes, bytes | int | None]]


def clone(path: bytes) -> int:
    """A detached copy of one mount of the host."""
    return mounting.open_tree(mounting.AT_FDCWD, path, OPEN_TREE_CLONE)


def bind_tree(mount: Mount, user_namespace: int) -> int:
    """A detached bind of the mount's source, with its attributes and propagation."""
    recursive = AT_RECURSIVE if mount.recursive else 0
    try:
        tree = mounting.open_tree(mounting.AT_FDCWD, mount.source, OPEN_TREE_CLONE | recursive)
    except OSError as error:
        code = error.errno or errno.EIO
        raise OSError(code, f"{os.fsdecode(mount.source)}: {os.strerror(code)}") from error
    try:
        if mount.idmap:
            _map_ids(tree, mount, user_namespace)
        propagation = mount.propagation or mounting.MS_PRIVATE
        deep = recursive if mount.propagation_deep or not mount.propagation else 0
        mounting.mount_setattr(tree, b"", AT_EMPTY_PATH | deep, 0, 0, propagation)
        if mount.attributes or mount.clear:
            mounting.mount_setattr(tree, b"", AT_EMPTY_PATH, mount.attributes, mount.clear)
        if mount.deep or mount.deep_clear:
            flags = AT_EMPTY_PATH | AT_RECURSIVE
            mounting.mount_setattr(tree, b"", flags, mount.deep, mount.deep_clear)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _map_ids(tree: int, mount: Mount, user_namespace: int) -> None:
    """Show the files' ids as the mount's own maps, or the container's, have them."""
    own = namespaces.make_user_namespace(*mount.maps) if mount.maps else -1
    try:
        flags = AT_EMPTY_PATH | (AT_RECURSIVE if mount.recursive_idmap else 0)
        map_ids(tree, own if own >= 0 else user_namespace, flags)
    finally:
        if own >= 0:
            os.close(own)


def map_ids(tree: int, user_namespace: int, flags: int = AT_EMPTY_PATH) -> None:
    """Raises OSError with words for a file system that cannot."""
    if user_namespace < 0:
        raise OSError(errno.EINVAL, "idmap: neither the mount nor the container has mappings")
    try:
        mounting.mount_setattr(
            tree, b"", flags, mounting.MOUNT_ATTR_IDMAP, user_namespace=user_namespace
        )
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EINVAL, "this file system cannot show other ids (idmap)") from error


def idmapped(options: bytes, scratch: bytes, user_namespace: int) -> bytes:
    """The overlay's options with every lower layer in a copy that shows the container's ids.

    The copies hang in a tmpfs over `scratch`, in this mount namespace only: an overlay wants its
    layers to be attached. The upper layer is the container's own and holds real ids, since what
    mounts the overlay has to write there.
    """
    data: Data = [(b"mode", b"700"), (b"source", b"tmpfs")]
    holder = mounting.new_filesystem(b"tmpfs", data, 0)
    place = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounting.move_mount(holder, place)
    os.close(place)
    result = []
    for option in options.split(b","):
        key, _, value = option.partition(b"=")
        if key == b"lowerdir":
            hung = [
                _hang(holder, scratch, number, layer, user_namespace)
                for number, layer in enumerate(value.split(b":"))
            ]
            option = b"lowerdir=" + b":".join(hung)
        result.append(option)
    os.close(holder)
    return b",".join(result)


def _hang(holder: int, scratch: bytes, number: int, layer: bytes, user_namespace: int) -> bytes:
    """A layer under other ids, attached in the holder; its path."""
    name = str(number)
    tree = clone(layer)
    map_ids(tree, user_namespace)
    os.mkdir(name, 0o700, dir_fd=holder)
    target = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=holder)
    mounting.move_mount(tree, target)
    os.close(target)
    os.close(tree)
    return scratch + b"/" + name.encode()


def give_upper(options: bytes, uid: int, gid: int) -> None:
    """The upper layer's own directory, which is the root that the container sees."""
    for option in options.split(b","):
        key, _, value = option.partition(b"=")
        if key == b"upperdir":
            fd = os.open(value, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if os.fstat(fd).st_uid == 0:
                os.fchown(fd, uid, gid)
            os.close(fd)


def mount_overlay(options: bytes, target: bytes) -> None:
    """On `target`; more layers than mount(2) takes go one by one (Linux 6.8)."""
    if len(options) <= DATA_BYTES:
        mounting.mount(b"overlay", target, b"overlay", 0, options)
        return
    data: Data = []
    for option in options.split(b","):
        key, _, value = option.partition(b"=")
        if key == b"lowerdir":
            data += [(b"lowerdir+", layer) for layer in value.split(b":")]
        else:
            data.append((key, value))
    tree = mounting.new_filesystem(b"overlay", data, 0)
    place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounting.move_mount(tree, place)
    os.close(place)
    os.close(tree)


def overlay(data: Data, attributes: int, scratch: bytes) -> int:
    """A detached overlay, however long the list of its lower layers is.

    An option of fsconfig(2) ends at 256 bytes. Layers go one by one where the kernel takes them so
    (Linux 6.8); before, mount(2) takes a page of them, over `scratch` for a moment.
    """
    if all(not isinstance(value, bytes) or len(value) < OPTION_BYTES for _, value in data):
        return mounting.new_filesystem(b"overlay", data, attributes)
    single: Data = []
    for key, value in data:
        if key == b"lowerdir" and isinstance(value, bytes):
            single += [(b"lowerdir+", layer) for layer in _split(value)]
        else:
            single.append((key, value))
    try:
        return mounting.new_filesystem(b"overlay", single, attributes)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    options = b",".join(k if v is None else k + b"=" + bytes(v) for k, v in data if k != b"source")
    if len(options) > DATA_BYTES:
        raise OSError(errno.E2BIG, "overlay: too many layers for this kernel")
    mounting.mount(b"overlay", scratch, b"overlay", 0, options)
    try:
        tree = clone(scratch)
    finally:
        mounting.umount(scratch, mounting.MNT_DETACH)
    mounting.mount_setattr(tree, b"", AT_EMPTY_PATH, attributes)
    return tree


def _split(lowers: bytes) -> list[bytes]:
    """The directories of lowerdir=, whose own colons are escaped."""
    return [
        part.replace(b"\0", b":").replace(b"\\\\", b"\\")
        for part in lowers.replace(b"\\:", b"\0").split(b":")
    ]


def part_of(tree: int, subdir: bytes, scratch: bytes) -> int:
    """One directory or file of a detached mount as a mount of its own; the whole is let go.

    Before Linux 6.15 a part can be taken of an attached mount only: it hangs over `scratch` for a
    moment. No link leads out of the mount. Raises OSError with words.
    """
    place = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounting.move_mount(tree, place)
        try:
            found = paths.openat2(tree, subdir, os.O_PATH, IN_TREE)
            try:
                return mounting.open_tree(found, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
            finally:
                os.close(found)
        finally:
            mounting.umount(scratch, mounting.MNT_DETACH)
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, f"{os.fsdecode(subdir)} is not in what is mounted") from error
    finally:
        os.close(place)
        os.close(tree)


def proc_of(pid_namespace: int, data: Data, attributes: int) -> int:
    """A /proc that shows the processes of a namespace that we are not in."""
    try:
        return mounting.new_filesystem(b"proc", [*data, (b"pidns", pid_namespace)], attributes)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # A kernel before 6.17: one that is in it makes it, and hands it out.
    ours, theirs = lean.socketpair()
    pid = processes.fork()  # our children are born there, since we have entered it for them
    if pid == 0:
        try:
            tree = mounting.new_filesystem(b"proc", data, attributes)
            lean.send_fds(theirs, b"proc", [tree])
        finally:
            os._exit(0)
    theirs.close()
    _, fds = lean.recv_fds(ours, 16, 1)
    ours.close()
    os.waitpid(pid, 0)
    if not fds:
        raise OSError(errno.EPERM, "/proc of the joined pid namespace cannot be mounted")
    return fds[0]
