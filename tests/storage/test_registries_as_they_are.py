"""What registries in the field do: each line with a real registry, or a server in front of one."""

import asyncio
import gzip
import io
import os
import ssl
import time
import zlib
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
import zstandard
from aiohttp import web
from image_world import FAST, SMALL, image_of, needs_root, one_file
from registry_proxy import HttpProxy, Proxy, fetch
from yarl import URL

from swarmlite.errors import InvalidSpec, PermissionDenied, Unavailable
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.login import login
from swarmlite.storage.images.proxies import proxy_for
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.token import Challenge, as_secure, parse_challenges
from swarmlite.testing.registry import Registry, make_certificates

pytestmark = needs_root
SECRET = RegistryAuth("me", "hunter2")


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> str:
    registry.push(image_of("real:1", one_file("a", "real" * 1000), one_file("b", "2")))
    return registry.url


def server_tls(folder: Path, host: str, certs_dir: Path, address: str = "") -> ssl.SSLContext:
    """For a server at `host`, trusted below `certs_dir` once its address is known."""
    folder.mkdir()
    make_certificates(host, folder / "ca.crt", folder / "s.crt", folder / "s.key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "s.crt", folder / "s.key")
    return context


def trust(certs_dir: Path, address: str, ca_file: Path) -> None:
    (certs_dir / address).mkdir(parents=True)
    (certs_dir / address / "ca.crt").write_bytes(ca_file.read_bytes())


# logins
async def guarded(request: web.Request, challenge: str, accepted: str) -> web.Response | None:
    """A registry's 401, unless the request is authorized."""
    if request.headers.get("Authorization") == accepted:
        return None
    return web.Response(status=401, headers={"WWW-Authenticate": challenge})


async def test_logins_go_to_the_token_server_that_a_registry_names(
    pushed: str, store: ImageStore, tmp_path: Path
) -> None:
    """On another domain too, over TLS; with the strict switch only on the registry's own site."""

    async def issue(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.headers.get("Authorization") != SECRET.basic():
            return web.Response(status=401)
        return web.json_response({"access_token": "good"})

    certs = tmp_path / "certs.d"
    tls = server_tls(tmp_path / "tls", "localhost", certs)
    async with Proxy("", issue).running(tls) as server:
        trust(certs, f"localhost:{server.port}", tmp_path / "tls" / "ca.crt")
        challenge = f'Bearer realm="https://localhost:{server.port}/token",service="s"'

        async def ask(request: web.Request, _: int) -> web.StreamResponse | None:
            return await guarded(request, challenge, "Bearer good")

        async with Proxy(pushed, ask).running() as registry:
            store.settings = RegistrySettings(certs_dir=certs, retries=0)
            await store.pull(f"{registry.address}/real:1", auth=SECRET)
            assert {r.headers.get("Authorization") for r in server.requests} == {SECRET.basic()}
            assert server.requests[0].query["scope"] == "repository:real:pull"
            server.requests.clear()
            store.settings = RegistrySettings(certs_dir=certs, retries=0, strict_token_servers=True)
            with pytest.raises(PermissionDenied, match="another host: the credentials were not"):
                await store.pull(f"{registry.address}/real:1", auth=SECRET)
            assert not any("Authorization" in r.headers for r in server.requests)


async def test_a_login_gives_the_identity_token_of_a_server_that_has_them(pushed: str) -> None:
    """It is asked for with the password once, and serves in its place from then on."""
    forms: list[dict[str, str]] = []

    async def issue(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.method == "POST":
            forms.append({key: str(value) for key, value in (await request.post()).items()})
            good = forms[-1].get("refresh_token") == "kept"
        else:
            good = request.headers.get("Authorization") == SECRET.basic()
        if not good:
            return web.Response(status=401)
        more = {"refresh_token": "kept"} if request.query.get("offline_token") == "true" else {}
        return web.json_response({"access_token": "good"} | more)

    async with Proxy("", issue).running() as server:
        challenge = f'Bearer realm="http://{server.address}/token",service="s"'

        async def ask(request: web.Request, _: int) -> web.StreamResponse | None:
            return await guarded(request, challenge, "Bearer good")

        async with Proxy(pushed, ask).running() as registry:
            auth = RegistryAuth("me", "hunter2", server_address=registry.address)
            assert await login(auth, FAST) == "kept"
            token = RegistryAuth(identity_token="kept", server_address=registry.address)
            assert await login(token, FAST) == ""
            assert forms[-1]["grant_type"] == "refresh_token" and forms[-1]["service"] == "s"
            with pytest.raises(PermissionDenied, match="refuses these credentials"):
                await login(replace(token, identity_token="stolen"), FAST)


async def test_every_tag_of_a_repository_is_listed_page_by_page(
    pushed: str, store: ImageStore
) -> None:
    """By a registry that cuts pages shorter than asked for, and with one that is no tag."""
    tags = [f"v{number}" for number in range(7)]

    async def page(request: web.Request, _: int) -> web.StreamResponse | None:
        if not request.path.endswith("/tags/list"):
            return None
        begin = tags.index(request.query["last"]) + 1 if "last" in request.query else 0
        found = [*tags[begin : begin + 3], *(["bad tag"] if not begin else [])]
        return web.json_response({"name": "real", "tags": found})

    async with Proxy(pushed, page).running() as registry:
        assert await store.tags(f"{registry.address}/real") == tags

    async def nonsense(request: web.Request, _: int) -> web.StreamResponse | None:
        return web.json_response({"tags": [1, 2]}) if "tags" in request.path else None

    async with Proxy(pushed, nonsense).running() as registry:
        with pytest.raises(InvalidSpec, match="list of tags cannot be read"):
            await store.tags(f"{registry.address}/real")


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("https://registry.example.com", "https://auth.other.net/token", True),
        ("https://registry.example.com", "http://auth.example.com/token", False),
        ("https://registry.example.com", "http://registry.example.com/token", False),
        ("http://10.0.0.1:5000", "http://10.0.0.1:5001/token", True),
        ("http://10.0.0.1:5000", "http://10.0.0.2:5001/token", False),
        ("http://10.0.0.1:5000", "https://auth.example.com/token", True),
    ],
)
def test_a_token_server_is_as_secure_as_its_registry(
    registry: str, realm: str, allowed: bool
) -> None:
    assert as_secure(URL(registry), URL(realm)) is allowed


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("lines", [1, 2])
async def test_bearer_and_basic_in_either_order(
    pushed: str, store: ImageStore, order: int, lines: int
) -> None:
    """In one header or in two: the token is asked for."""

    async def answer(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.path == "/token":
            return web.json_response({"token": "good"})
        if request.headers.get("Authorization") == "Bearer good":
            return None
        bearer = f'Bearer realm="http://{proxy.address}/token",service="a, b",scope="x"'
        both = [bearer, 'Basic realm="the \\"inner\\" one"']
        both = both[::-1] if order else both
        response = web.Response(status=401)
        for line in [", ".join(both)] if lines == 1 else both:
            response.headers.add("WWW-Authenticate", line)
        return response

    async with Proxy(pushed, answer).running() as proxy:
        await store.pull(f"{proxy.address}/real:1", auth=SECRET)
        asked = [r for r in proxy.requests if r.path == "/token"]
        assert {r.query["service"] for r in asked} == {"a, b"}


def test_challenges_are_read_as_they_are_written() -> None:
    header = 'Negotiate, Basic realm="a, b", charset=UTF-8 , BEARER realm="u?x=\\"1\\"",error="e"'
    assert parse_challenges([header, "Digest", ", ,Basic realm=x"]) == [
        Challenge("negotiate", {}),
        Challenge("basic", {"realm": "a, b", "charset": "UTF-8"}),
        Challenge("bearer", {"realm": 'u?x="1"', "error": "e"}),
        Challenge("digest", {}),
        Challenge("basic", {"realm": "x"}),
    ]
    assert parse_challenges(["=", '"', "Bearer realm", "", "\0"]) is not None


async def test_a_login_is_tried_and_only_at_its_own_registry(registry: Registry) -> None:
    with Registry(users={"me": "secret"}) as secure:
        good = RegistryAuth("me", "secret", server_address=f"https://{secure.address}/v1/")
        await login(good, FAST)
        with pytest.raises(PermissionDenied, match="refuses these credentials"):
            await login(RegistryAuth("me", "no", server_address=secure.address), FAST)
        assert good.only_for(registry.address) is None
        assert good.only_for(secure.address) is good


# answers
def compressed(kind: str, body: bytes) -> bytes:
    if kind == "deflate":
        return zlib.compress(body)
    return gzip.compress(body) if kind == "gzip" else zstandard.ZstdCompressor().compress(body)


@pytest.mark.parametrize("kind", ["gzip", "deflate", "zstd"])
async def test_answers_that_a_proxy_compressed_are_read(
    pushed: str, store: ImageStore, kind: str
) -> None:
    """Manifests, configs and layers, asked for or not: digests are of what they were before."""

    async def squeeze(request: web.Request, _: int) -> web.StreamResponse | None:
        assert request.headers["Accept-Encoding"] == "identity"
        plain = await proxy.forward(request, b"")
        if plain.status != 200 or not isinstance(plain.body, bytes):
            return plain
        headers = {"Content-Encoding": kind, "Content-Type": plain.headers["Content-Type"]}
        return web.Response(body=compressed(kind, plain.body), headers=headers)

    async with Proxy(pushed, squeeze).running() as proxy:
        image = await store.pull(f"{proxy.address}/real:1")
    assert (store.lower_dirs(image)[1] / "a").read_text() == "real" * 1000


async def test_a_layer_that_is_only_labelled_as_compressed_is_taken_as_it_is(
    pushed: str, store: ImageStore
) -> None:
    async def label(request: web.Request, _: int) -> web.StreamResponse | None:
        plain = await proxy.forward(request, b"")
        if "/blobs/" in request.path and "Content-Encoding" not in plain.headers:
            plain.headers["Content-Encoding"] = "gzip"
            if isinstance(plain.body, bytes) and plain.body.startswith(b"{"):
                return None  # a config, which is no gzip
        return plain

    async with Proxy(pushed, label).running() as proxy:
        await store.pull(f"{proxy.address}/real:1")


async def test_bombs_of_encodings_end(pushed: str, tmp_path: Path) -> None:
    async def bomb(request: web.Request, _: int) -> web.StreamResponse | None:
        if "/manifests/" not in request.path:
            return None
        body = gzip.compress(bytes(200 << 20), 9)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async def unknown(request: web.Request, _: int) -> web.StreamResponse | None:
        return web.Response(body=b"x", headers={"Content-Encoding": "br"})

    store = ImageStore(tmp_path / "s", settings=FAST, limits=SMALL)
    for fault, message in ((bomb, "is longer than 4194304 bytes"), (unknown, "encoding 'br'")):
        async with Proxy(pushed, fault).running() as proxy:
            with pytest.raises(InvalidSpec, match=message):
                await store.pull(f"{proxy.address}/real:1")


@pytest.mark.parametrize("what", ["manifests", "blobs"])
async def test_a_registry_that_drips_is_given_up(pushed: str, store: ImageStore, what: str) -> None:
    """A byte now and then is no stall, and would go on for days."""

    async def drip(request: web.Request, _: int) -> web.StreamResponse | None:
        if f"/{what}/" not in request.path:
            return None
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    store.settings = RegistrySettings(retries=0, stall_timeout_s=0.5)
    async with Proxy(pushed, drip).running() as proxy:
        with pytest.raises(Unavailable, match="sends less than 512 bytes a second"):
            await store.pull(f"{proxy.address}/real:1")


async def test_a_retry_after_is_waited_for_as_a_date_too(pushed: str, store: ImageStore) -> None:
    times: list[float] = []

    async def busy(request: web.Request, count: int) -> web.StreamResponse | None:
        if "/manifests/" not in request.path or count > 1:
            return None
        times.append(time.time())
        until = formatdate(time.time() + 2, usegmt=True)
        return web.Response(status=429, headers={"Retry-After": until})

    async with Proxy(pushed, busy).running() as proxy:
        await store.pull(f"{proxy.address}/real:1")
    assert time.time() - times[0] >= 0.9  # a date has whole seconds


async def test_layers_come_side_by_side(registry: Registry, store: ImageStore) -> None:
    registry.push(image_of("wide:1", *(one_file(f"f{n}", str(n)) for n in range(6))))
    there: list[int] = []
    together = asyncio.Event()

    async def gather(request: web.Request, _: int) -> web.StreamResponse | None:
        if "/blobs/" not in request.path or len(await fetch(registry.url + request.path)) > 600:
            return None
        there.append(1)
        if len(there) == 3:
            together.set()
        await asyncio.wait_for(together.wait(), 30)
        return None

    async with Proxy(registry.url, gather).running() as proxy:
        await store.pull(f"{proxy.address}/wide:1")
    assert len(there) >= 3


async def test_layers_go_side_by_side(registry: Registry, store: ImageStore) -> None:
    """Three uploads are under way before any of them is taken in."""
    ref = registry.push(image_of("goes:1", *(one_file(f"f{n}", os.urandom(9)) for n in range(6))))
    await store.pull(ref)
    there: set[str] = set()
    together = asyncio.Event()

    async def gather(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.method in ("PUT", "PATCH") and "/blobs/uploads/" in request.path:
            there.add(request.path)
            if len(there) == 3:
                together.set()
            await asyncio.wait_for(together.wait(), 30)
        return None

    async with Proxy(registry.url, gather).running() as proxy:
        await store.tag(ref, target := f"{proxy.address}/other-{os.urandom(4).hex()}:1")
        assert await store.push(target)
    assert len(there) >= 3


# how they are reached
async def test_a_registry_that_wants_a_certificate_gets_it(
    pushed: str, store: ImageStore, tmp_path: Path
) -> None:
    """certs.d as Docker's: any *.crt is an authority, NAME.cert with NAME.key is shown."""
    certs = tmp_path / "certs.d"
    tls = server_tls(tmp_path / "tls", "127.0.0.1", certs)
    make_certificates(
        "client", tmp_path / "c-ca.crt", tmp_path / "client.cert", tmp_path / "client.key"
    )
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(tmp_path / "c-ca.crt")
    async with Proxy(pushed).running(tls) as proxy:
        folder = certs / proxy.address
        folder.mkdir(parents=True)
        (folder / "company.crt").write_bytes((tmp_path / "tls" / "ca.crt").read_bytes())
        store.settings = RegistrySettings(
            certs_dir=tmp_path / "none", more_certs_dirs=(certs,), retries=0
        )
        with pytest.raises(Unavailable):
            await store.pull(f"{proxy.address}/real:1")
        for name in ("client.cert", "client.key"):
            (folder / name).write_bytes((tmp_path / name).read_bytes())
        await store.pull(f"{proxy.address}/real:1")


async def test_mirrors_are_asked_first_and_passed_over_when_they_fail(
    pushed: str, store: ImageStore
) -> None:
    async def broken(_request: web.Request, _: int) -> web.StreamResponse | None:
        return web.Response(status=404)

    async with (
        Proxy(pushed, broken).running() as bad,
        Proxy(pushed).running() as good,
        Proxy(pushed).running() as registry,
    ):
        urls = (f"http://{bad.address}", f"http://{good.address}")
        store.settings = RegistrySettings(retries=0, mirrors={registry.address: urls})
        image = await store.pull(f"{registry.address}/real:1", auth=SECRET)
        assert image.repo_tags == (f"{registry.address}/real:1",)
        assert bad.requests and good.requests and not registry.requests
        assert not any("Authorization" in r.headers for r in (*bad.requests, *good.requests))
        store.settings = RegistrySettings(retries=0, mirrors={registry.address: urls[:1]})
        await store.resolve(f"{registry.address}/real:1")
        assert registry.requests


async def test_registries_are_asked_through_the_proxy_of_the_environment(
    pushed: str, store: ImageStore, tmp_path: Path
) -> None:
    """Plain and by CONNECT; the proxy knows where the registry is, and this host does not."""
    certs = tmp_path / "certs.d"
    tls = server_tls(tmp_path / "tls", "registry.invalid", certs)
    async with (
        Proxy(pushed).running() as plain,
        Proxy(pushed).running(tls) as secure,
        HttpProxy(plain.address).running() as http,
        HttpProxy(secure.address).running() as https,
    ):
        trust(certs, "registry.invalid:443", tmp_path / "tls" / "ca.crt")
        environment = {"HTTP_PROXY": f"http://{http.address}", "https_proxy": https.address}
        store.settings = RegistrySettings(
            certs_dir=certs, retries=0, environment=environment, insecure=("plain.invalid:8080",)
        )
        await store.resolve("registry.invalid:443/real:1")
        assert https.asked[0].startswith("CONNECT registry.invalid:443 ")
        mirror = {"other.invalid": ("http://plain.invalid:8080",)}
        store.settings = RegistrySettings(retries=0, environment=environment, mirrors=mirror)
        await store.pull("other.invalid/real:1")
        assert http.asked[0].startswith("GET http://plain.invalid:8080/v2/real/manifests/1 ")


@pytest.mark.parametrize(
    ("url", "exceptions", "through"),
    [
        ("http://reg.example/v2/", "", True),
        ("http://localhost:5000/v2/", "", False),
        ("http://127.0.0.9:5000/v2/", "", False),
        ("http://reg.example/v2/", "example", False),
        ("http://regexample/v2/", "example", True),
        ("http://example/v2/", ".example", True),
        ("http://reg.example/v2/", " other, .example ", False),
        ("http://reg.example:5000/v2/", "reg.example:5001", True),
        ("http://reg.example:5000/v2/", "reg.example:5000", False),
        ("http://10.1.2.3/v2/", "10.0.0.0/8", False),
        ("http://10.1.2.3/v2/", "10.1.2.4", True),
        ("http://[fd00::1]:5000/v2/", "fd00::/8", False),
        ("http://reg.example/v2/", "*", False),
    ],
)
def test_what_is_excepted_from_proxies(url: str, exceptions: str, through: bool) -> None:
    environment = {"http_proxy": "proxy:3128", "NO_PROXY": exceptions}
    found = proxy_for(URL(url), environment)
    assert (found == URL("http://proxy:3128")) is through


def test_the_registries_of_swarmlite_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "swarmlite.toml"
    monkeypatch.setenv("SWARMLITE_SETTINGS", str(file))
    with pytest.raises(InvalidSpec, match="which is not there"):
        RegistrySettings.from_environment()
    file.write_text(
        '[registries]\ninsecure = ["10.0.0.0/8"]\nmirrors = ["https://mirror:5000"]\n'
        'strict-token-servers = true\n[registries."ghcr.io"]\nmirrors = ["http://cache"]\n'
        '[registries."reg:5000"]\ninsecure = true\n'
    )
    settings = RegistrySettings.from_environment()
    assert settings.is_insecure("10.1.1.1:80") and settings.is_insecure("reg:5000")
    assert not settings.is_insecure("ghcr.io") and settings.strict_token_servers
    assert settings.mirrors_of("docker.io") == (URL("https://mirror:5000"),)
    assert settings.mirrors_of("ghcr.io") == (URL("http://cache"),)
    for text, message in (
        ("[registries]\nmirror = []", "unknown key 'mirror'"),
        ('[registries]\nmirrors = "x"', "mirrors is not a list of strings"),
        ('[registries]\nmirrors = ["x"]', "'x' is not an http or https URL"),
        ('[registries."a"]\ninsecure = 1', "a.insecure is neither true nor false"),
        ("registries = 1", "registries is not a table"),
        ("[", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidSpec, match=message):
            RegistrySettings.from_environment()


# uploads
CHUNK = 1 << 20


async def made(store: ImageStore, target: str, size: int) -> str:
    """An image of one layer of noise, under a registry's name; its digest."""
    config = {"os": "linux"}
    await store.make(config, io.BytesIO(one_file("noise", os.urandom(size))), tag=target)
    return store.get(target).manifest


async def test_an_upload_that_breaks_goes_on_where_it_was(
    registry: Registry, tmp_path: Path
) -> None:
    broken: list[str] = []

    async def cut(request: web.Request, count: int) -> web.StreamResponse | None:
        start = request.headers.get("Content-Range", "").partition("-")[0]
        if request.method != "PATCH" or start != str(CHUNK) or broken:
            return None
        broken.append(start)
        await request.read()
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    settings = RegistrySettings(backoff_s=0.01, upload_chunk_bytes=CHUNK)
    store = ImageStore(tmp_path / "images", settings=settings, limits=SMALL)
    async with Proxy(registry.url, cut).running() as proxy:
        digest = await made(store, f"{proxy.address}/broken:1", 3_500_000)
        (pushed,) = await store.push(f"{proxy.address}/broken:1")
        starts = [
            r.headers["Content-Range"].partition("-")[0]
            for r in proxy.requests
            if r.method == "PATCH"
        ]
        assert pushed.digest == digest and broken
        assert starts == ["0", str(CHUNK), str(CHUNK), str(2 * CHUNK)]
    assert (await store.resolve(f"{registry.address}/broken:1")).digest == digest


async def test_a_proxy_that_refuses_large_requests_gets_smaller_ones(
    registry: Registry, tmp_path: Path
) -> None:
    async def narrow(request: web.Request, _: int) -> web.StreamResponse | None:
        length = int(request.headers.get("Content-Length", "0"))
        if length <= 2 << 20:
            return None
        await request.read()
        return web.Response(status=413)

    settings = RegistrySettings(backoff_s=0.01, upload_chunk_bytes=8 << 20)
    store = ImageStore(tmp_path / "images", settings=settings, limits=SMALL)
    async with Proxy(registry.url, narrow).running() as proxy:
        digest = await made(store, f"{proxy.address}/narrow:1", 5_000_000)
        await store.push(f"{proxy.address}/narrow:1")
    assert (await store.resolve(f"{registry.address}/narrow:1")).digest == digest


async def test_a_registry_that_dies_in_mid_push_is_said(tmp_path: Path) -> None:
    async def dead(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.method != "PUT":
            return None
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    settings = RegistrySettings(backoff_s=0.01, retries=2)
    store = ImageStore(tmp_path / "images", settings=settings, limits=SMALL)
    with Registry() as registry:
        async with Proxy(registry.url, dead).running() as proxy:
            await made(store, f"{proxy.address}/dead:1", 100_000)
            with pytest.raises(Unavailable, match="does not answer"):
                await store.push(f"{proxy.address}/dead:1")
        with pytest.raises(Exception, match="no such image"):
            await store.resolve(f"{registry.address}/dead:1")


async def test_a_registry_that_takes_nothing_is_given_up(
    registry: Registry, tmp_path: Path
) -> None:
    release = asyncio.Event()

    async def stuck(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.method == "PUT" and "/uploads/" in request.path:
            await release.wait()
        return None

    settings = RegistrySettings(retries=0, stall_timeout_s=0.5)
    store = ImageStore(tmp_path / "images", settings=settings, limits=SMALL)
    async with Proxy(registry.url, stuck).running() as proxy:
        await made(store, f"{proxy.address}/stuck:1", 30_000_000)
        with pytest.raises(Unavailable, match="does not take what is sent"):
            await store.push(f"{proxy.address}/stuck:1")
        release.set()
