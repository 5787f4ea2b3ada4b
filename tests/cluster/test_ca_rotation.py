"""Another root in the place of the cluster's: what signs, what is trusted, and when it is over."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from authorities import serving
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from swarmlite.errors import FailedPrecondition, InvalidSpec, Unavailable
from swarmlite.identity.issuers import issuer_of, key_id
from swarmlite.manager.ca import external, issuing, rotation, tokens
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject, new_request
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.proto.objects_pb2 import Cluster, Node
from swarmlite.proto.specs_pb2 import ExternalCA

SUBJECT = Subject("n1", MANAGER, "c1", ("10.0.0.1",))


def cluster_of(root: RootCA) -> Cluster:
    cluster = Cluster(id="c1")
    cluster.root_ca.ca_cert, cluster.root_ca.ca_key = root.cert, root.key
    return cluster


def verified(tmp_path: Path, roots: bytes, chain: bytes, strict: bool = True) -> bool:
    """By OpenSSL: the first of the chain, with the rest as what may stand in between."""
    first, mark, rest = chain.partition(b"-----END CERTIFICATE-----\n")
    (tmp_path / "roots").write_bytes(roots)
    (tmp_path / "leaf").write_bytes(first + mark)
    (tmp_path / "between").write_bytes(rest)
    between = ["-untrusted", str(tmp_path / "between")] if rest else []
    command = ["openssl", "verify", "-CAfile", str(tmp_path / "roots"), *between]
    command += ["-x509_strict"] if strict else []
    done = subprocess.run([*command, str(tmp_path / "leaf")], capture_output=True, timeout=60)
    return done.returncode == 0


def own_root(*, bits: int = 0, ca: bool = True, key_name: bytes | None = None) -> RootCA:
    """As people make them: RSA, or with a key id of their own."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP384R1())
    name = x509.Name.from_rfc4514_string("CN=our own root,O=us")
    now = x509.load_pem_x509_certificate(RootCA.create().cert).not_valid_before_utc
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if key_name is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(key_name), critical=False)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    certificate = builder.sign(key, hashes.SHA256())
    return RootCA(certificate.public_bytes(serialization.Encoding.PEM), pem)


@pytest.mark.parametrize("made", ["ours", "rsa", "own key id"])
async def test_whoever_trusts_either_root_finds_its_way_during_a_rotation(
    tmp_path: Path, made: str
) -> None:
    old = RootCA.create()
    new = {
        "ours": RootCA.create,
        "rsa": lambda: own_root(bits=2048),
        "own key id": lambda: own_root(key_name=b"our own name"),
    }[made]()
    new = RootCA.given(new.cert, new.key)
    cluster = cluster_of(old)
    _, csr = new_request()
    before = await issuing.issue(cluster, csr, SUBJECT)
    assert issuer_of(before) == key_id(old.cert) == rotation.issuer(cluster)
    rotation.begin(cluster, new)
    after = await issuing.issue(cluster, csr, SUBJECT)
    assert issuer_of(after) == key_id(new.cert) == rotation.issuer(cluster)
    for roots, chain, trusts in (
        (old.cert, before, True),
        (old.cert, after, True),
        (new.cert, after, True),
        (new.cert, before, False),
        (rotation.trusted(cluster), before, True),
        (rotation.trusted(cluster), after, True),
        (RootCA.create().cert, after, False),
    ):
        # Python 3.13 is strict; roots that people bring are as they are.
        assert verified(tmp_path, roots, chain, strict=made == "ours") is trusts
    with pytest.raises(FailedPrecondition, match="under way"):
        rotation.begin(cluster, RootCA.create())
    rotation.finish(cluster)
    assert rotation.trusted(cluster) == new.cert
    # etcd of a node that has not started again since knows only the old root.
    late = await issuing.issue(cluster, csr, SUBJECT)
    assert verified(tmp_path, old.cert, late, strict=made == "ours")
    assert tokens.parse(cluster.root_ca.join_tokens.worker).ca_digest == tokens.digest(new.cert)


async def test_a_rotation_ends_once_every_node_that_is_to_come_back_has_renewed() -> None:
    old, new, store = RootCA.create(), RootCA.create(), MemoryStore()
    cluster = cluster_of(old)
    rotation.begin(cluster, new)
    nodes = [Node(id=name) for name in ("renewed", "away", "left")]
    for node in nodes:
        node.description.certificate_issuer = key_id(old.cert)
    nodes[0].description.certificate_issuer = key_id(new.cert)
    nodes[2].left = True
    await store.commit([Put(cluster), *map(Put, nodes)])
    assert [node.id for node in rotation.behind(cluster, store.view.nodes)] == ["away"]

    async def ended() -> None:
        async with store.subscribe("cluster") as events:
            async for _ in events:
                if store.view.cluster and not store.view.cluster.root_ca.HasField("rotation"):
                    return

    keeping = asyncio.create_task(rotation.keep(store, None))  # type: ignore[arg-type]
    waiting = asyncio.create_task(ended())
    for _ in range(20):
        await asyncio.sleep(0)
    assert store.view.cluster is not None and store.view.cluster.root_ca.HasField("rotation")
    back = Node()
    back.CopyFrom(store.view.nodes.get("away") or back)
    back.description.certificate_issuer = key_id(new.cert)
    await store.commit([Put(back)])
    await asyncio.wait_for(waiting, 60)
    keeping.cancel()
    assert store.view.cluster is not None
    assert store.view.cluster.root_ca.ca_cert == new.cert


def test_a_root_of_ones_own_is_checked() -> None:
    good, other = own_root(), own_root()
    _, csr = new_request()
    leaf = good.issue(csr, SUBJECT)
    for cert, key, match in (
        (b"rubbish", b"", "--ca-cert: not a certificate"),
        (leaf, b"", "not a CA's"),
        (own_root(ca=False).cert, b"", "not a CA's"),
        (good.cross_sign(other.cert), b"", "an intermediate"),
        (good.cert, b"rubbish", "--ca-key: not a private key"),
        (good.cert, other.key, "not the one of --ca-cert"),
    ):
        with pytest.raises(InvalidSpec, match=match):
            RootCA.given(cert, key)


async def test_an_external_authority_signs_and_what_it_signs_is_checked() -> None:
    root = RootCA.create()
    cluster = cluster_of(RootCA(root.cert, b""))
    _, csr = new_request()
    with pytest.raises(Unavailable, match="no key here"):
        await issuing.issue(cluster, csr, SUBJECT)
    with serving(root) as authority:
        dead = authority.url.replace("cfssl", "elsewhere").replace("127.0.0.1", "127.0.0.9")
        for url in (dead, authority.url):
            cluster.spec.ca.external_cas.add(protocol="cfssl", url=url, options={"profile": "node"})
        chain = await issuing.issue(cluster, csr, SUBJECT)
        assert issuer_of(chain) == key_id(root.cert)
        asked = authority.asked[0]
        assert asked["profile"] == "node"
        assert asked["subject"] == {"CN": "n1", "names": [{"O": "c1", "OU": MANAGER}]}
        assert asked["hosts"] == ["n1", MANAGER, "localhost", "127.0.0.1", "10.0.0.1"]
        for mood, match in (
            ("refuses", "did not sign: 400 policy says no"),
            ("other names", "its names are somebody"),
            ("other root", "not of the cluster's root"),
        ):
            authority.mood = mood
            with pytest.raises(Unavailable, match=match):
                await issuing.issue(cluster, csr, SUBJECT)
        with pytest.raises(InvalidSpec, match="certificate request"):
            await issuing.issue(cluster, b"rubbish", SUBJECT)
    with pytest.raises(FailedPrecondition, match="the present root's key is not here"):
        rotation.begin(cluster, RootCA.create())
    for wrong, match in (
        (ExternalCA(protocol="acme", url="https://x"), "unknown protocol 'acme'"),
        (ExternalCA(protocol="cfssl", url="ftp://x"), "is not a URL"),
        (ExternalCA(protocol="cfssl", url="https://x", ca_cert=b"x"), "cacert"),
    ):
        with pytest.raises(InvalidSpec, match=match):
            external.check(wrong)
