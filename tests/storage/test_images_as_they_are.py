"""What builders in the field make: each a hand-made image, pulled from a real registry."""

import gzip
import io
import json
import os
import struct
import tarfile
from typing import Any

import pytest
import zstandard
from aiohttp import web
from image_world import image_of, in_overlay, needs_root, one_file
from registry_proxy import Proxy

from swarmlite.errors import FailedPrecondition, Unavailable
from swarmlite.storage.images.manifest import OCI_INDEX, OCI_MANIFEST
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Platform
from swarmlite.testing.oci import (
    CONFIG_TYPE,
    LAYER_TYPE,
    BuiltImage,
    BuiltLayer,
    TarWriter,
    architecture,
    digest,
)
from swarmlite.testing.push import Pusher
from swarmlite.testing.registry import Registry

pytestmark = needs_root
SKIPPABLE = struct.pack("<II", 0x184D2A50, 6) + b"skipme"


def hand_made(tar: bytes, blob: bytes, kind: str) -> BuiltLayer:
    """A layer whose blob was packed in some way."""
    return BuiltLayer(digest(tar), digest(blob), len(blob), LAYER_TYPE + kind, data=blob)


def in_parts(tar: bytes, parts: int = 5) -> list[bytes]:
    step = len(tar) // parts + 1
    return [tar[start : start + step] for start in range(0, len(tar), step)]


def zstd_frames(tar: bytes) -> bytes:
    """Frames with skippable ones before, between and after, and one that is empty."""
    squeeze = zstandard.ZstdCompressor(level=3).compress
    frames = [SKIPPABLE, squeeze(b"")]
    for part in in_parts(tar):
        frames += [squeeze(part), SKIPPABLE]
    return b"".join(frames)


def gzip_members(tar: bytes) -> bytes:
    """Members, one of them empty, padded with zeros at the end."""
    members = [gzip.compress(part) for part in in_parts(tar)]
    return b"".join([*members, gzip.compress(b""), bytes(512)])


@pytest.mark.parametrize("kind", ["+zstd", "+gzip"])
async def test_layers_of_many_frames_and_members(
    registry: Registry, store: ImageStore, kind: str
) -> None:
    noise = os.urandom(300_000)
    tar = one_file("noise", noise)
    blob = zstd_frames(tar) if kind == "+zstd" else gzip_members(tar)
    ref = registry.push(BuiltImage(f"frames-{kind[1:]}:1", (hand_made(tar, blob, kind),)))
    image = await store.pull(ref)
    assert (store.lower_dirs(image)[0] / "noise").read_bytes() == noise


async def test_empty_and_repeated_layers(registry: Registry, store: ImageStore) -> None:
    """The same blob three times, and one without any file; steps of history without a layer."""
    same, empty = one_file("same", "x"), TarWriter().tar()
    built = image_of("repeated:1", same, empty, same, one_file("last", "y"), same)
    image = await store.pull(registry.push(built))
    assert len(image.layers) == 5 and len(set(image.layers)) == 5
    assert in_overlay(store.lower_dirs(image), "ls").stdout.split() == ["last", "same"]
    target = f"{registry.address}/repeated-again:1"
    await store.tag(f"{registry.address}/repeated:1", target)
    (pushed,) = await store.push(target)
    assert pushed.digest == digest(built.manifest)
    no_layers = BuiltImage("scratch:1", ())
    image = await store.pull(registry.push(no_layers))
    assert image.layers == () and list(store.lower_dirs(image)[0].iterdir()) == []


async def test_capabilities_hard_links_and_long_names(
    registry: Registry, store: ImageStore
) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    long = "/".join(["d" * 100] * 3 + ["f" * 250])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("ping")
        info.mode, info.size = 0o755, 4
        info.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
        raw = info.tobuf(tarfile.PAX_FORMAT, "latin-1", "surrogateescape")
        buffer.write(raw + b"ping" + bytes(508))
        tar.offset = buffer.tell()
        link = tarfile.TarInfo("pong")
        link.type, link.linkname = tarfile.LNKTYPE, "ping"
        tar.addfile(link)
        deep = tarfile.TarInfo(long)
        deep.size = 4
        tar.addfile(deep, io.BytesIO(b"deep"))
        umlaut = tarfile.TarInfo("grüße/ñ")
        tar.addfile(umlaut)
    ref = registry.push(image_of("special:1", buffer.getvalue()))
    root = store.lower_dirs(await store.pull(ref))[0]
    assert os.getxattr(root / "ping", "security.capability") == capability
    assert (root / "ping").stat().st_ino == (root / "pong").stat().st_ino
    assert (root / long).read_bytes() == b"deep"
    assert (root / "grüße/ñ").exists()


async def test_what_gnu_tar_writes_of_long_names(registry: Registry, store: ImageStore) -> None:
    buffer = io.BytesIO()
    name = "n" * 200
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        tar.addfile(info)
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, name
        tar.addfile(link)
    root = store.lower_dirs(await store.pull(registry.push(image_of("gnu:1", buffer.getvalue()))))
    assert (root[0] / "link").resolve() == (root[0] / name).resolve()


def entry(data: bytes, kind: str = OCI_MANIFEST, **fields: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data), **fields}


def platform(arch: str) -> dict[str, Any]:
    return {"platform": {"os": "linux", "architecture": arch}}


def index_of(*entries: dict[str, Any]) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    ).encode()


def push_variants(registry: Registry, name: str) -> dict[str, BuiltImage]:
    """An image for this machine and one for another, by digest only."""
    pusher, images = Pusher(registry.url), {}
    for arch in (architecture(), "riscv64"):
        layers = image_of("x", one_file("arch", arch)).layers
        images[arch] = BuiltImage(f"{name}:1", layers, architecture=arch)
        pusher.push(images[arch], f"{name}:{arch}")
    return images


async def test_entries_without_a_platform_are_told_by_their_config(
    registry: Registry, store: ImageStore
) -> None:
    images = push_variants(registry, "unsaid")
    own, other = images[architecture()], images["riscv64"]
    index = index_of(entry(other.manifest), entry(own.manifest))
    Pusher(registry.url).push_manifest("unsaid", "1", index, OCI_INDEX)
    ref = f"{registry.address}/unsaid:1"
    assert (await store.pull(ref)).id == own.id
    assert {p.architecture for p in (await store.resolve(ref)).platforms} == set(images)
    assert (await store.pull(ref, platform=Platform("linux", "riscv64"))).id == other.id
    with pytest.raises(FailedPrecondition, match=r"no image for linux/s390x .*linux/riscv64"):
        await store.pull(ref, platform=Platform("linux", "s390x"))


async def test_indexes_within_indexes_and_attestations(
    registry: Registry, store: ImageStore
) -> None:
    """The inner index has no platform; the attestation comes first, as some builders have it."""
    images = push_variants(registry, "inner")
    own, other = images[architecture()], images["riscv64"]
    pusher = Pusher(registry.url)
    statement = b'{"_type":"https://in-toto.io/Statement/v0.1"}'
    pusher.push_blob("inner", statement)
    attestation = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG_TYPE, "digest": own.id, "size": len(own.config)},
            "layers": [entry(statement, "application/vnd.in-toto+json")],
        }
    ).encode()
    pusher.push_manifest("inner", digest(attestation), attestation, OCI_MANIFEST)
    unknown = {"platform": {"os": "unknown", "architecture": "unknown"}}
    inner = index_of(entry(attestation, **unknown), entry(own.manifest, **platform(own_arch())))
    pusher.push_manifest("inner", digest(inner), inner, OCI_INDEX)
    outer = index_of(
        entry(attestation, **unknown),
        entry(other.manifest, **platform("riscv64")),
        entry(inner, OCI_INDEX),
    )
    pusher.push_manifest("inner", "1", outer, OCI_INDEX)
    ref = f"{registry.address}/inner:1"
    assert (await store.pull(ref)).id == own.id
    assert (await store.pull(ref, platform=Platform("linux", "riscv64"))).id == other.id
    found = store.inspect(own.id)
    assert [one.attestation for one in found.manifests] == [True, False, True, False]
    await store.pull(ref, all_platforms=True)
    target = f"{registry.address}/inner-again:1"
    await store.tag(ref, target)
    (pushed,) = await store.push(target, all_platforms=True)
    assert pushed.digest == digest(outer)


def own_arch() -> str:
    return architecture()


async def test_the_best_variant_is_taken(registry: Registry, store: ImageStore) -> None:
    pusher, entries = Pusher(registry.url), []
    images = {}
    for variant in ("v5", "v6", "v8"):
        layers = image_of("x", one_file("variant", variant)).layers
        built = BuiltImage("arm:1", layers, architecture="arm")
        pusher.push(built, f"arm:{variant}")
        images[variant] = built.id
        described = {"os": "linux", "architecture": "arm", "variant": variant}
        entries.append(entry(built.manifest, platform=described))
    pusher.push_manifest("arm", "1", index_of(*entries), OCI_INDEX)
    ref = f"{registry.address}/arm:1"
    for wanted, expected in (("v7", "v6"), ("v6", "v6"), ("v8", "v8")):
        image = await store.pull(ref, platform=Platform("linux", "arm", wanted))
        assert image.id == images[expected], wanted


async def test_foreign_layers_come_from_their_own_place(
    registry: Registry, store: ImageStore
) -> None:
    """Their blob is in no registry; it is fetched without credentials, and never pushed."""
    tar = one_file("foreign", "from elsewhere")
    blob = gzip.compress(tar)

    async def serve(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.path == "/layer":
            return web.Response(body=blob)
        return web.Response(status=404)

    async with Proxy("", serve).running() as elsewhere:
        base = image_of("foreign:1", one_file("own", "1"), tar)
        layers = [base.layers[0].descriptor(), base.layers[0].descriptor()]
        urls = [f"http://{elsewhere.address}/{path}" for path in ("gone", "layer")]
        kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        layers[1] = entry(blob, kind, urls=["ftp://x", *urls])
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": entry(base.config, CONFIG_TYPE),
                "layers": layers,
            }
        ).encode()

        async def upstream(request: web.Request, _: int) -> web.StreamResponse | None:
            if request.method in ("GET", "HEAD") and "/manifests/" in request.path:
                return web.Response(body=manifest, headers={"Content-Type": OCI_MANIFEST})
            return None

        pusher = Pusher(registry.url)
        pusher.push_blob("foreign", base.config)
        pusher.push_blob("foreign", base.layers[0].read())
        async with Proxy(registry.url, upstream).running() as proxy:
            image = await store.pull(f"{proxy.address}/foreign:1")
            assert (store.lower_dirs(image)[0] / "foreign").read_text() == "from elsewhere"
            assert not any("Authorization" in r.headers for r in elsewhere.requests)
            elsewhere.requests.clear()
            await store.remove(image.id)
    async with Proxy(registry.url, upstream).running() as proxy:
        with pytest.raises(Unavailable, match="does not answer"):
            await store.pull(f"{proxy.address}/foreign:1")
