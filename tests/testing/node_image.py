"""The hosts' image without a builder: Debian's packages, and what .venv has of Python's.

Laid out as deploy/Dockerfile lays it out, which takes minutes where this takes seconds.
"""

from __future__ import annotations

import compileall
import sys
import tarfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import zstandard
from packaging.requirements import Requirement

import swarmlite
from swarmlite.testing import images, oci

PACKAGES = ["etcd-server", "nftables", "iproute2", "libstdc++6", "util-linux", "python3"]
"""What the Dockerfile's first step asks a base for, and pip."""
BUILDER_PACKAGES = [*PACKAGES, "python3-pip", "python3-venv"]
ROOT = Path(swarmlite.__file__).resolve().parents[2]
HOME = "opt/swarmlite"
SCRIPT = "#!/opt/swarmlite/bin/python\nimport sys\nfrom {} import {}\nsys.exit({}())\n"


def node(name: str = "swarmlite-node:test") -> oci.BuiltImage:
    """The finished image."""
    base = images.debian(name, [PACKAGES])
    settings = {
        "Env": [f"PATH=/{HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Entrypoint": ["/node-entrypoint.sh"],
        "Cmd": ["swarmlited"],
        "Volumes": {"/var/lib/swarmlite": {}},
    }
    return oci.BuiltImage(name, (*base.layers, _swarmlite()), settings)


def base_image(name: str = "swarmlite-base:test") -> oci.BuiltImage:
    """A base for deploy/Dockerfile that has its packages, in layers that any engine reads."""
    return plain(images.debian(name, [BUILDER_PACKAGES]))


def plain(image: oci.BuiltImage) -> oci.BuiltImage:
    """The same without zstd, which Docker's older engines do not load."""
    return replace(image, layers=tuple(_plain(layer) for layer in image.layers))


def _plain(layer: oci.BuiltLayer) -> oci.BuiltLayer:
    if not layer.media_type.endswith("+zstd"):
        return layer
    data = zstandard.ZstdDecompressor().decompressobj().decompress(layer.read())
    return oci.layer(data, "none")


def _swarmlite() -> oci.BuiltLayer:
    writer = oci.TarWriter()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    site = f"{HOME}/lib/python{version}/site-packages"
    writer.file(f"{HOME}/pyvenv.cfg", f"home = /usr/bin\nversion = {version}\n")
    writer.symlink(f"{HOME}/bin/python", "/usr/bin/python3")
    for name in sorted(_needed()):
        for file in metadata.files(name) or ():
            if ".." not in file.parts:
                _add(writer, f"{site}/{file}", Path(str(file.locate())))
    package = ROOT / "src" / "swarmlite"
    # Or each process of each host would do it for itself, a minute where many start at once.
    compileall.compile_dir(package, quiet=2)
    for path in sorted(package.rglob("*")):
        if path.is_file():
            _add(writer, f"{site}/swarmlite/{path.relative_to(package)}", path)
    for entry in metadata.distribution("swarmlite").entry_points:
        if entry.group == "console_scripts":
            script = SCRIPT.format(entry.module, entry.attr, entry.attr)
            writer.file(f"{HOME}/bin/{entry.name}", script, mode=0o755)
    entrypoint = (ROOT / "deploy" / "node-entrypoint.sh").read_bytes()
    writer.file("node-entrypoint.sh", entrypoint, mode=0o755)
    return oci.layer(writer.tar(), "none")


def _add(writer: oci.TarWriter, name: str, path: Path) -> None:
    """With its date, so that what Python has compiled already counts there too."""
    data = path.read_bytes()
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o644, int(path.stat().st_mtime)
    writer.add_new(info, data)


def _needed() -> set[str]:
    """The distributions that swarmlite depends on, and those that they do."""
    found: set[str] = set()
    queue = ["swarmlite"]
    while queue:
        for line in metadata.requires(queue.pop()) or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                name = wanted.name.lower()
                if name not in found:
                    found.add(name)
                    queue.append(name)
    return found
