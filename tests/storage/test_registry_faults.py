"""Registries that break, lie or send credentials astray; each failure says what it was."""

import asyncio
import base64
import json
import os
import time
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from image_world import FAST, SMALL, image_of, left_behind, needs_root, one_file
from registry_proxy import Proxy, fetch, send_part
from yarl import URL

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.manifest import OCI_INDEX, OCI_MANIFEST
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.token import same_site
from swarmlite.storage.images.types import Platform
from swarmlite.testing.oci import digest
from swarmlite.testing.push import Pusher
from swarmlite.testing.registry import Registry, make_certificates

pytestmark = needs_root
SECRET = RegistryAuth("me", "hunter2")
BIG = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> str:
    registry.push(image_of("faulty:1", one_file("big", BIG)))
    return registry.url


async def test_a_blob_that_is_cut_goes_on_where_it_was(pushed: str, store: ImageStore) -> None:
    async def cut(request: web.Request, count: int) -> web.StreamResponse | None:
        if "/blobs/" not in request.path or count > 2:
            return None
        body = await fetch(pushed + request.path_qs)
        if len(body) < 1_000_000:
            return None
        if start := request.headers.get("Range"):
            assert start != "bytes=0-"
        if count == 1:
            return await send_part(request, body, 1_000_000)
        return web.Response(status=503)

    async with Proxy(pushed, cut).running() as proxy:
        image = await store.pull(f"{proxy.address}/faulty:1")
        ranges = [r.headers["Range"] for r in proxy.requests if "Range" in r.headers]
        assert len(ranges) == 2 and ranges[0] == ranges[1]
    assert (store.lower_dirs(image)[0] / "big").read_bytes() == BIG


async def test_an_interrupted_pull_is_resumed_by_the_next_store(
    pushed: str, tmp_path: Path
) -> None:
    async def cut(request: web.Request, _: int) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        body = await fetch(pushed + request.path_qs)
        return None if len(body) < 1_000_000 else await send_part(request, body, 500_000)

    root = tmp_path / "images"
    async with Proxy(pushed, cut).running() as proxy:
        address = proxy.address
        with pytest.raises(Unavailable, match=r"broke at byte \d+ of \d+|sent \d+ of"):
            await ImageStore(root, settings=FAST, limits=SMALL).pull(f"{address}/faulty:1")
    assert [path.stat().st_size for path in (root / "ingest").iterdir()] == [500_000]
    store = ImageStore(root, settings=FAST, limits=SMALL)
    image = await store.pull(f"{URL(pushed).authority}/faulty:1")
    assert (store.lower_dirs(image)[0] / "big").read_bytes() == BIG
    assert list((root / "ingest").iterdir()) == []


async def test_too_many_requests_are_waited_out(pushed: str, store: ImageStore) -> None:
    async def busy(request: web.Request, count: int) -> web.StreamResponse | None:
        if "/manifests/" in request.path and count <= 2:
            return web.Response(status=429, headers={"Retry-After": "0"})
        return web.Response(status=500) if "/blobs/" in request.path and count == 1 else None

    async with Proxy(pushed, busy).running() as proxy:
        await store.pull(f"{proxy.address}/faulty:1")

    async def always(request: web.Request, _: int) -> web.StreamResponse | None:
        return web.Response(status=429) if "/manifests/" in request.path else None

    async with Proxy(pushed, always).running() as proxy:
        with pytest.raises(ResourceExhausted, match="answers 429"):
            await store.pull(f"{proxy.address}/faulty:1")
        assert 3 <= len(proxy.requests) < 12


async def test_where_nobody_listens_a_pull_fails_soon(store: ImageStore) -> None:
    """Refused connections and unknown names are not waited out as a busy registry is."""
    store.settings = RegistrySettings(retries=10_000)  # a busy registry's would take days
    for host in ("127.0.0.1:9", "no-such-registry.invalid"):
        with pytest.raises(Unavailable, match="does not answer"):
            await store.pull(f"{host}/image:1")


async def test_content_that_is_not_what_its_digest_says(pushed: str, store: ImageStore) -> None:
    async def flip(request: web.Request, _: int) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        body = await fetch(pushed + request.path_qs)
        return None if len(body) < 1_000_000 else web.Response(body=b"\0" + body[1:])

    async def longer(request: web.Request, _: int) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        return web.Response(body=await fetch(pushed + request.path_qs) + b"more")

    for fault, message in ((flip, "arrived damaged"), (longer, "another content|is longer")):
        async with Proxy(pushed, fault).running() as proxy:
            with pytest.raises(InvalidSpec, match=message):
                await store.pull(f"{proxy.address}/faulty:1")
    assert store.list() == [] and left_behind(store) == []
    assert list((store.root / "ingest").iterdir()) == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"schemaVersion": 2, "manifests": [], "layers": []}, "an index and an image at once"),
        ({"schemaVersion": 1}, "obsolete schema"),
        (
            {"schemaVersion": 2, "config": {"digest": "../../etc", "size": 1}, "layers": []},
            "digest",
        ),
        ({"schemaVersion": 2, "mediaType": OCI_INDEX, "layers": []}, "but was sent as"),
        ([1], "not a JSON object"),
        (
            {"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64, "size": 1}}
            | {"layers": [{"digest": "sha256:" + "0" * 64, "size": 1, "mediaType": "x/y"}]},
            "unknown media type 'x/y'",
        ),
    ],
)
async def test_manifests_that_are_none(
    pushed: str, store: ImageStore, document: object, message: str
) -> None:
    async def lie(request: web.Request, _: int) -> web.StreamResponse | None:
        if "/manifests/" not in request.path:
            return None
        headers = {"Content-Type": OCI_MANIFEST}
        return web.Response(text=json.dumps(document), headers=headers)

    async with Proxy(pushed, lie).running() as proxy:
        with pytest.raises(InvalidSpec, match=message):
            await store.pull(f"{proxy.address}/x:1")


async def test_a_manifest_of_another_digest_is_refused(pushed: str, store: ImageStore) -> None:
    async def other(request: web.Request, _: int) -> web.StreamResponse | None:
        if "/manifests/" in request.path:
            return web.Response(text="{}", headers={"Content-Type": OCI_INDEX})
        return None

    async with Proxy(pushed, other).running() as proxy:
        with pytest.raises(InvalidSpec, match="arrived with the digest"):
            await store.pull(f"{proxy.address}/x@sha256:{'1' * 64}")


async def test_indexes_of_indexes_end_somewhere(registry: Registry, store: ImageStore) -> None:
    pusher = Pusher(registry.url)
    built = image_of("nested:0", one_file("a", "nested"))
    pusher.push(built, built.name)
    data, media_type = built.manifest, OCI_MANIFEST
    for depth in range(1, 5):
        entry = {"mediaType": media_type, "digest": digest(data), "size": len(data)}
        platform = {"os": "linux", "architecture": Platform.of_host().architecture}
        index = {"schemaVersion": 2, "manifests": [entry | {"platform": platform}]}
        data, media_type = json.dumps(index | {"mediaType": OCI_INDEX}).encode(), OCI_INDEX
        pusher.push_manifest("nested", str(depth), data, OCI_INDEX)
    for depth in (1, 2):
        image = await store.pull(f"{registry.address}/nested:{depth}")
        assert image.id == built.id
    with pytest.raises(InvalidSpec, match="further indexes more than 3 deep"):
        await store.pull(f"{registry.address}/nested:4")


async def test_a_stalled_registry_does_not_hold_a_pull_for_ever(store: ImageStore) -> None:
    async def stall(_request: web.Request, _: int) -> web.StreamResponse | None:
        await asyncio.sleep(30)
        return None

    settings = type(FAST)(retries=0, stall_timeout_s=0.3)
    quick = ImageStore(store.root, settings=settings)
    async with Proxy("", stall).running() as proxy:
        with pytest.raises(Unavailable, match="does not answer in time"):
            await quick.pull(f"{proxy.address}/x")


async def test_credentials_follow_no_redirect_to_another_host(
    pushed: str, store: ImageStore
) -> None:
    async def plain(_request: web.Request, _: int) -> web.StreamResponse | None:
        return None

    async with Proxy(pushed, plain).running() as elsewhere:

        async def redirect(request: web.Request, _: int) -> web.StreamResponse | None:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            if "/blobs/" in request.path:
                target = f"http://{elsewhere.address}{request.path_qs}"
                return web.Response(status=307, headers={"Location": target})
            return None

        async with Proxy(pushed, redirect).running() as proxy:
            await store.pull(f"{proxy.address}/faulty:1", auth=SECRET)
            assert any("Authorization" in r.headers for r in proxy.requests)
        assert elsewhere.requests
        assert not any("Authorization" in r.headers for r in elsewhere.requests)


async def test_credentials_follow_no_realm_to_another_host(pushed: str, store: ImageStore) -> None:
    async def token_server(_request: web.Request, _: int) -> web.StreamResponse | None:
        return web.Response(status=401)

    async with Proxy(pushed, token_server).running() as thief:
        realm = f"http://localhost:{thief.address.rpartition(':')[2]}/token"

        async def ask(_request: web.Request, _: int) -> web.StreamResponse | None:
            challenge = f'Bearer realm="{realm}",service="s"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})

        async with Proxy(pushed, ask).running() as proxy:
            with pytest.raises(PermissionDenied, match="credentials were not sent there"):
                await store.pull(f"{proxy.address}/faulty:1", auth=SECRET)
        assert thief.requests
        assert not any("Authorization" in r.headers for r in thief.requests)


@pytest.mark.parametrize(
    ("registry_url", "realm", "allowed"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://ghcr.io", "https://evil.io/token", False),
        ("https://registry-1.docker.io", "http://auth.docker.io/token", False),
        ("https://registry-1.docker.io", "https://auth.docker.io.evil.com/token", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
        ("http://10.0.0.1:5000", "http://10.0.0.2/token", False),
        ("http://registry:5000", "http://evil/token", False),
    ],
)
def test_which_token_servers_get_credentials(registry_url: str, realm: str, allowed: bool) -> None:
    assert same_site(URL(registry_url), URL(realm)) is allowed


async def test_a_redirect_without_end_or_to_a_file(pushed: str, store: ImageStore) -> None:
    for location, message in (("/v2/again", "too often"), ("file:///etc/shadow", "not HTTPS")):

        async def circle(
            request: web.Request, _: int, location: str = location
        ) -> web.StreamResponse | None:
            if request.path == "/v2/":
                return None
            return web.Response(status=302, headers={"Location": location})

        async with Proxy(pushed, circle).running() as proxy:
            with pytest.raises(FailedPrecondition, match=message):
                await store.pull(f"{proxy.address}/x")


def signed_token(key: ec.EllipticCurvePrivateKey, certificate: bytes, claims: object) -> str:
    """A JWT as docker-registry wants it: ES256, the certificate in x5c."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


async def test_a_real_registry_with_a_token_server(
    registry: Registry, store: ImageStore, tmp_path: Path
) -> None:
    make_certificates("t", tmp_path / "ca.crt", tmp_path / "t.crt", tmp_path / "t.key")
    key = serialization.load_pem_private_key((tmp_path / "t.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)

    async def issue(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.headers.get("Authorization") != SECRET.basic():
            return web.Response(status=401)
        kind, name, actions = request.query["scope"].split(":")
        now = int(time.time())
        claims = {"iss": "tests", "sub": "me", "aud": request.query["service"], "jti": "1"}
        claims |= {"iat": now, "nbf": now - 10, "exp": now + 300}
        access = [{"type": kind, "name": name, "actions": actions.split(",")}]
        certificate = (tmp_path / "t.crt").read_bytes()
        token = signed_token(key, certificate, claims | {"access": access})
        return web.json_response({"token": token})

    content = tmp_path / "content"
    with Registry(root=content) as filled:
        filled.push(image_of("guarded:1", one_file("a", "b")))
    async with Proxy("", issue).running() as server:
        token = {"realm": f"http://{server.address}/token", "service": "guarded"}
        token |= {"issuer": "tests", "rootcertbundle": str(tmp_path / "ca.crt")}
        with Registry(root=content, token=token) as guarded:
            ref = f"{guarded.address}/guarded:1"
            assert (await store.pull(ref, auth=SECRET)).repo_tags == (ref,)
            with pytest.raises(PermissionDenied, match="gives no anonymous access"):
                await store.pull(ref)
            with pytest.raises(PermissionDenied, match="refuses these credentials"):
                await store.pull(ref, auth=RegistryAuth("me", "wrong"))
