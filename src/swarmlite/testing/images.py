"""Images for tests, examples and the demo, made of this machine's Debian packages, without Docker.

`python -m swarmlite.testing.images --push HOST:PORT` builds all that compose-examples/ needs and
pushes them. A folder with an `image.json` is one image: its Debian packages become layers that
images share, its other files the top layer, in /app. Layers are kept in ~/.cache/swarmlite/images
(SWARMLITE_IMAGE_CACHE), so that a second run builds nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError
from swarmlite.testing.debian import Packages
from swarmlite.testing.oci import BuiltImage, BuiltLayer, TarWriter, layer
from swarmlite.testing.push import Pusher

BUSYBOX = Path("/bin/busybox")
EXAMPLES = Path(__file__).resolve().parents[3] / "compose-examples"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_APPLETS = (
    "[ arping ash awk base64 basename cat chgrp chmod chown chroot cmp cp cut date dd df diff "
    "dirname dmesg du echo egrep env expr false fgrep find free fuser grep gunzip gzip head "
    "hexdump hostname httpd id ifconfig ip kill killall less link ln logger ls md5sum mkdir "
    "mkfifo mknod mktemp more mount mv nc netstat nice nohup nslookup od paste pgrep pidof ping "
    "ping6 printenv printf ps pwd readlink realpath renice reset rm rmdir route sed seq setsid "
    "sh sha256sum sleep sort split stat strings stty su sync sysctl tail tar tee telnet test "
    "time timeout top touch tr traceroute true truncate tty umount uname uniq unlink uptime vi "
    "watch wc wget which whoami xargs yes zcat "
)
_ACCOUNTS = {"root": 0, "nobody": 65534, "redis": 999, "postgres": 998, "app": 1000}


def busybox() -> BuiltImage:
    """busybox:latest, of Debian's busybox-static: a shell, tools, httpd; one layer of gzip."""
    writer = TarWriter()
    _root_files(writer, "bin")
    return BuiltImage("busybox:latest", (layer(writer.tar()),), {"Env": [_PATH], "Cmd": ["sh"]})


def ready() -> tuple[BuiltImage, BuiltImage]:
    """What a first service can be made of: busybox, and a web server that says where it runs."""
    tools = busybox()
    serve = "mkdir -p /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -h /tmp/www"
    settings = {"Env": [_PATH], "Cmd": ["sh", "-c", serve], "ExposedPorts": {"80/tcp": {}}}
    return tools, BuiltImage("web:latest", tools.layers, settings)


def build(folder: Path) -> BuiltImage:
    """The image of a folder with an image.json; raises InvalidSpec, FailedPrecondition.

    Keys of image.json: name (NAME:TAG); packages: a list of lists, each a layer above libc and
    busybox; config: the image configuration's `config`; directories: {PATH: {"user", "mode"}}.
    """
    try:
        recipe: dict[str, Any] = json.loads((folder / "image.json").read_text())
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{folder / 'image.json'}: {error}") from error
    image = debian(recipe["name"], recipe["packages"])
    settings = {**recipe.get("config", {})}
    settings["Env"] = [_PATH, *settings.get("Env", [])]
    top = _application(folder, recipe.get("directories", {}))
    return BuiltImage(image.name, (*image.layers, top), settings)


def debian(name: str, packages: Sequence[Sequence[str]]) -> BuiltImage:
    """An image of libc and busybox, and one layer for each list of packages."""
    layers = Packages().layers([["libc6", "libgcc-s1", "zlib1g"], *packages], _base_files)
    return BuiltImage(name, tuple(layers), {"Env": [_PATH], "Cmd": ["sh"]})


def example_images(example: Path) -> list[BuiltImage]:
    """The images of one example, in the order of their folders."""
    return [build(path.parent) for path in sorted(example.glob("*/image.json"))]


def push_examples(registry: str, example: Path, *, url: str = "") -> list[str]:
    """Build and push what one example needs; the names. `registry` is HOST:PORT, plain HTTP."""
    return list(_push(example_images(example), registry, url))


def _push(images: Sequence[BuiltImage], registry: str, url: str) -> Iterator[str]:
    pusher = Pusher(url or f"http://{registry}")
    for image in images:
        pusher.push(image, image.name)
        yield f"{registry}/{image.name}"


def _busybox() -> bytes:
    if not BUSYBOX.is_file():
        raise FailedPrecondition("busybox is not installed: apt-get install busybox-static")
    return BUSYBOX.read_bytes()


def _root_files(writer: TarWriter, binaries: str) -> None:
    """Users, groups, busybox, and the directories that programs expect."""
    for name in ("dev", "etc", "proc", "root", "run", "sys", "usr", "var/log", "var/lib"):
        writer.directory(name)
    for name in ("tmp", "var/tmp"):
        writer.directory(name, mode=0o1777)
    users = [f"{name}:x:{uid}:{uid}:{name}:/:/bin/sh\n" for name, uid in _ACCOUNTS.items()]
    groups = [f"{name}:x:{uid}:\n" for name, uid in _ACCOUNTS.items()]
    writer.file("etc/passwd", "".join(users))
    writer.file("etc/group", "".join(groups))
    writer.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    writer.file(f"{binaries}/busybox", _busybox(), mode=0o755)
    for applet in _APPLETS.split():
        writer.symlink(f"{binaries}/{applet}", "busybox")


def _base_files(writer: TarWriter) -> None:
    """What the lowest layer of Debian images has beside its packages."""
    for name in ("bin", "sbin", "lib", "lib64"):
        writer.symlink(name, f"usr/{name}")
    _root_files(writer, "usr/bin")


def _application(folder: Path, directories: dict[str, dict[str, Any]]) -> BuiltLayer:
    writer = TarWriter()
    for path, wanted in directories.items():
        uid = _ACCOUNTS[wanted.get("user", "root")]
        mode = int(wanted.get("mode", "755"), 8)
        writer.directory(path, mode=mode, uid=uid, gid=uid)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "image.json" and "__pycache__" not in file.parts:
            mode = 0o755 if file.suffix == ".sh" else 0o644
            writer.file(f"app/{file.relative_to(folder)}", file.read_bytes(), mode=mode)
    return layer(writer.tar())


def main() -> None:
    """Build and push what the examples need."""
    parser = argparse.ArgumentParser(prog="python -m swarmlite.testing.images", description=__doc__)
    parser.add_argument("--push", metavar="HOST:PORT", required=True, help="a registry")
    parser.add_argument("--https", action="store_true", help="the registry speaks HTTPS")
    parser.add_argument("examples", nargs="*", help="names below compose-examples/ (default: all)")
    arguments = parser.parse_args()
    url = f"{'https' if arguments.https else 'http'}://{arguments.push}"
    try:
        for name in _push([busybox()], arguments.push, url):
            print(name)
        for example in arguments.examples or sorted(p.name for p in EXAMPLES.iterdir()):
            for name in push_examples(arguments.push, EXAMPLES / example, url=url):
                print(name, flush=True)
    except SwarmliteError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
