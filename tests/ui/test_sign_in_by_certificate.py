"""Signing in by a user's certificate, and which roots such a certificate may be of."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from small_manager import small_page

from swarmlite.errors import FailedPrecondition
from swarmlite.identity.certificates import CERTIFICATE, KEY, ROOTS
from swarmlite.identity.subjects import OPERATOR
from swarmlite.kernel import durable
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject, new_request
from swarmlite.manager.store.api import Put
from swarmlite.paths import Paths
from swarmlite.proto.control_pb2 import ListNodesResponse
from swarmlite.proto.objects_pb2 import Cluster, Service
from swarmlite.proto.options_pb2 import ROLE_OPERATOR
from swarmlite.ui import __main__ as process
from swarmlite.ui import server as server_room
from swarmlite.ui.cluster import Cluster as AskedCluster
from swarmlite.ui.live import Live
from swarmlite.ui.server import Server
from swarmlite.ui.signing import COOKIE, Session, Sessions

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")


class OneService:
    """A cluster with a service, whose users are all of one role."""

    role = "operator"

    async def role_of(self, user_id: str) -> str:
        return self.role

    async def service(self, session: Session, ref: str) -> Any:
        found = Service(id="s")
        found.spec.replicated.replicas = 2
        return found, []

    async def plots(self, session: Session, tasks: Any) -> list[Any]:
        return []

    async def call(self, session: Session, method: str, request: Any) -> Any:
        assert method == "ListNodes"
        return ListNodesResponse()


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects shows the certificate of one."""
    monkeypatch.setattr(server_room, "_user_of", lambda _: "u")


def server_of(cluster: OneService, tmp_path: Path) -> tuple[Server, Sessions]:
    sessions = Sessions(tmp_path)
    paths = Paths(tmp_path / "state", tmp_path / "run")
    return Server(paths, cast(AskedCluster, cluster), sessions), sessions


def certify(folder: Path, root: RootCA, roots: bytes) -> None:
    """Certificates of a manager, who trusts these roots."""
    key, csr = new_request()
    certificate = root.issue(csr, Subject("m1", MANAGER, "c"))
    folder.mkdir(exist_ok=True)
    for name, content in ((ROOTS, roots), (KEY, key), (CERTIFICATE, certificate)):
        durable.write(folder / name, content)


async def test_any_page_may_be_the_first_one_and_its_forms_are_taken(
    user: None, tmp_path: Path
) -> None:
    server, sessions = server_of(OneService(), tmp_path)
    async with TestClient(TestServer(server.app())) as client:
        page = await client.get("/ui/service/s")
        text, cookie = await page.text(), page.headers["Set-Cookie"].partition(";")[0]
        token = re.search(r'name="token" value="([^"]+)"', text)
        assert token is not None
        form = {"do": "scale", "replicas": "3", "token": token[1]}
        plan = await client.post("/ui/service/s/plan", data=form, headers={"Cookie": cookie})
        assert (plan.status, "from 2 to 3 replicas" in await plan.text()) == (200, True)
        assert "Set-Cookie" not in plan.headers
    assert len(sessions._sessions) == 1


async def test_what_is_begun_is_done_also_when_its_page_is_closed(
    user: None, tmp_path: Path
) -> None:
    """And what only looks ends with its page."""
    cluster = OneService()
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def update(*_: Any, **__: Any) -> None:
        begun.set()
        await go_on.wait()
        done.set()

    cluster.update = update  # type: ignore[attr-defined]
    server, sessions = server_of(cluster, tmp_path)
    session = Session("operator", "o")
    headers = {"Cookie": f"{COOKIE}={sessions.keep(session)}"}
    form = {"do": "scale", "replicas": "3", "version": "0", "token": session.token}
    async with TestClient(TestServer(server.app())) as client:
        asked = asyncio.ensure_future(client.post("/ui/service/s/do", data=form, headers=headers))
        await begun.wait()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        stream = await client.get("/ui/live", headers=headers)
        while not server.live._viewers:
            await asyncio.sleep(0)
        stream.close()
        while server.live._viewers:
            await asyncio.sleep(0)
        go_on.set()
        await done.wait()


async def test_a_stream_is_one_session_however_long_and_a_removed_users_is_none(
    user: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = OneService()
    server, sessions = server_of(cluster, tmp_path)
    monkeypatch.setattr(server_room, "PING_S", 0.0)
    async with TestClient(TestServer(server.app())) as client:
        stream = await client.get("/ui/live")
        for _ in range(3):
            assert (await stream.content.readline()) == b": still there\n"
            await stream.content.readline()
        assert len(sessions._sessions) == 1
        cluster.role = ""
        while (line := await stream.content.readline()) != b"event: end\n":
            assert line
        refused = await client.get("/ui/service/s")
        assert (refused.status, "Set-Cookie" in refused.headers) == (403, False)
    assert not sessions._sessions


@pytest.mark.parametrize("left", [None, timedelta(seconds=-1)], ids=["removed", "ended"])
async def test_a_user_whom_the_managers_know_no_more_is_signed_out_and_a_link_is_not(
    tmp_path: Path, left: timedelta | None
) -> None:
    """At the next page, whatever the cookie says; until then the role is the managers' word."""
    async with small_page(tmp_path) as page:

        def known(expires: timedelta | None) -> None:
            cluster = Cluster()
            cluster.CopyFrom(page.store.view.cluster)
            cluster.users.pop("u", None)
            if expires is not None:
                cluster.users["u"].role = ROLE_OPERATOR
                cluster.users["u"].expires_at.FromDatetime(datetime.now(UTC) + expires)
            page.store.commit_now([Put(cluster)])

        known(timedelta(days=1))
        page.session("admin").user_id = "u"
        status, text = await page.get("admin", "/")
        assert (status, "(operator)" in text) == (200, True)
        known(left)
        status, text = await page.get("admin", "/")
        assert (status, "was removed from the cluster, or the certificate" in text) == (403, True)
        status, text = await page.get("admin", "/")
        assert (status, "Not signed in" in text) == (403, True)
        assert (await page.get("reader", "/"))[0] == 200


async def test_a_certificate_that_has_ended_or_is_of_elsewhere_does_not_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TLS itself; a user whose certificate was revoked connects and is shown nothing."""
    monkeypatch.setattr("swarmlite.manager.ca.root.MINIMUM_LIFE", timedelta(hours=-1))
    root, cluster = RootCA.create(), OneService()
    certify(tmp_path / "own", root, root.cert)
    server, _ = server_of(cluster, tmp_path)
    tls = process.Tls(tmp_path / "own")

    async def asked(issuer: RootCA | None, life: timedelta = timedelta(days=1)) -> int:
        context = ssl.create_default_context(cadata=root.cert.decode())
        context.check_hostname = False
        if issuer is not None:
            key, csr = new_request()
            certificate = issuer.issue(csr, Subject("u", OPERATOR, "c"), life)
            (tmp_path / "pair").write_bytes(certificate + key)
            context.load_cert_chain(tmp_path / "pair")
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as client,
            client.get(running.make_url("/ui/service/s")) as answer,
        ):
            return answer.status

    running = TestServer(server.app())
    await running.start_server(ssl=tls.context)
    try:
        assert await asked(None) == 403
        assert await asked(root) == 200
        ended = timedelta(minutes=-1)
        for issuer, life in ((root, ended), (RootCA.create(), timedelta(days=1))):
            with pytest.raises(aiohttp.ClientError):
                await asked(issuer, life)
        cluster.role = ""
        assert await asked(root) == 403
    finally:
        await running.close()


async def test_another_certificate_is_shown_and_other_roots_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context only ever learns roots: one that was given up has to go with it."""
    monkeypatch.setattr(process, "LOOK_S", 0.0)
    root, folder = RootCA.create(), tmp_path / "certificates"
    certify(folder, root, root.cert)
    tls = process.Tls(folder)
    before, following = tls._stamp, asyncio.create_task(tls.follow())
    certify(folder, root, root.cert)
    while tls._stamp == before:
        assert not following.done()
        await asyncio.sleep(0)
    certify(folder, root, root.cert + RootCA.create().cert)
    await following


def test_a_certificate_in_the_middle_of_its_renewal_is_not_shown(tmp_path: Path) -> None:
    """The one before is, until its key is there too, also where no file's time changes then."""
    root, own = RootCA.create(), tmp_path / "own"
    certify(own, root, root.cert)
    tls = process.Tls(own)
    shown = shown_by(tls.context)
    key, csr = new_request()
    durable.write(own / CERTIFICATE, root.issue(csr, Subject("m2", MANAGER, "c")))
    before = tls._stamp
    with pytest.raises(FailedPrecondition):
        tls._load()
    assert tls._stamp == before
    assert shown_by(tls.context) == shown
    durable.write(own / KEY, key)
    tls._load()
    assert tls._stamp != before
    assert shown_by(tls.context) == (own / CERTIFICATE).read_text()


def shown_by(context: ssl.SSLContext) -> str:
    """The certificate that a client is shown, by a handshake in memory."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(down, up)
    server = context.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return ssl.DER_cert_to_PEM_cert(shown)


async def test_a_loop_that_dies_takes_the_page_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun again by who keeps it; a page that no longer changes would look well."""

    async def died(_: Live) -> None:
        raise RuntimeError("died")

    monkeypatch.setattr(Live, "run", died)
    root = RootCA.create()
    certify(Paths(tmp_path, tmp_path).certificates_dir, root, root.cert)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        options = argparse.Namespace(
            state_dir=tmp_path, run_dir=tmp_path, listen_fd=listening.fileno(), cert=None, key=None
        )
        with pytest.raises(ExceptionGroup):
            await process.run(options)
