"""A real registry for tests and examples: Debian's docker-registry, ended by its pid."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from swarmlite.errors import FailedPrecondition, Unavailable
from swarmlite.storage import trees
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.testing import reserved
from swarmlite.testing.oci import BuiltImage
from swarmlite.testing.push import Pusher

BINARY = "docker-registry"
_START_TIMEOUT_S = 15.0
_TIED = ("setpriv", "--pdeathsig", "TERM")  # to the life of whoever starts it


class Registry:
    """A context manager, plain or async, of a registry on `host`.

    `address` is HOST:PORT. With `tls` it has a certificate of a CA of its own, in `ca_file`; with
    `bare_certificates` neither says its key's usage or identifiers, as old private CAs do not.
    `certs_dir` is laid out for RegistrySettings and SWARMLITE_CERTS_DIR. `users` (name to password)
    asks for a login. `token` is docker-registry's `auth.token` section as it stands. `root` keeps
    the content; without it, it goes with the registry. With `outlive` it runs on when this process
    ends, with all that it needs in that folder, until it is left or its `pid` killed.
    Raises FailedPrecondition where docker-registry is not installed, Unavailable where it does
    not come up.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        port: int = 0,
        tls: bool = False,
        bare_certificates: bool = False,
        users: Mapping[str, str] | None = None,
        token: Mapping[str, str] | None = None,
        root: Path | None = None,
        outlive: Path | None = None,
        log_requests: bool = False,
    ) -> None:
        self.host = host
        self._log_requests = log_requests
        self.port = port or reserved.port(host)
        self._tls = tls
        self._bare = bare_certificates
        self._users = dict(users or {})
        self._token = dict(token or {})
        self._root = root
        self._outlive = outlive
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT, the first part of a reference."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._process is not None, "used outside of its context"
        return self._process.pid

    @property
    def url(self) -> str:
        """With its scheme."""
        return f"{'https' if self._tls else 'http'}://{self.address}"

    @property
    def folder(self) -> Path:
        """Where its configuration, log and certificates lie while it runs."""
        assert self._folder is not None, "used outside of its context"
        return self._folder

    def requests(self, method: str, path: str) -> list[str]:
        """What was asked for, of those whose path has `path` in it; with `log_requests` only."""
        lines = (self.folder / "registry.log").read_text(errors="replace").splitlines()
        asked = [line.partition(f'"{method} ')[2].partition(" ")[0] for line in lines]
        return [found for found in asked if path in found]

    @property
    def ca_file(self) -> Path | None:
        """The CA of its certificate."""
        return self.certs_dir / self.address / "ca.crt" if self._tls else None

    @property
    def certs_dir(self) -> Path:
        """HOST:PORT/ca.crt."""
        return self.folder / "certs.d"

    @property
    def auth(self) -> RegistryAuth | None:
        """A login of it, where it asks for one."""
        for name, password in self._users.items():
            return RegistryAuth(name, password)
        return None

    def push(self, image: BuiltImage, name: str = "") -> str:
        """Push an image under `name` (NAME[:TAG]) or its own; the reference to pull it by."""
        name = name or image.name
        Pusher(self.url, auth=self.auth, ca_file=self.ca_file).push(image, name)
        return f"{self.address}/{name}"

    def __enter__(self) -> Self:
        if shutil.which(BINARY) is None:
            raise FailedPrecondition(f"{BINARY} is not installed: apt-get install {BINARY}")
        self._folder = self._outlive or Path(tempfile.mkdtemp(prefix="swarmlite-registry-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder is not None:
            trees.sweep(self._folder)
        reserved.release(self.port)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _start(self) -> None:
        config = self.folder / "config.yml"
        config.write_text(yaml.safe_dump(self._config()))
        log = (self.folder / "registry.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                [*(() if self._outlive else _TIED), BINARY, "serve", str(config)],
                stdin=subprocess.DEVNULL,
                start_new_session=self._outlive is not None,
                stdout=log,
                stderr=log,
                env={"OTEL_TRACES_EXPORTER": "none", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = (self.folder / "registry.log").read_text(errors="replace").splitlines()
                raise Unavailable(f"{BINARY} does not start: {last[-1] if last else 'no message'}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), 1):
                return True
        except OSError:
            return False

    def _config(self) -> dict[str, Any]:
        root = self._root or self.folder / "content"
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": not self._log_requests}},
            "storage": {
                "filesystem": {"rootdirectory": str(root)},
                "cache": {"blobdescriptor": "inmemory"},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address, "secret": "testing"},
        }
        if self._tls:
            config["http"]["tls"] = self._make_certificates()
        if self._users:
            config["auth"] = {"htpasswd": {"realm": "testing", "path": self._make_htpasswd()}}
        if self._token:
            config["auth"] = {"token": self._token}
        return config

    def _make_certificates(self) -> dict[str, str]:
        ca_file = self.certs_dir / self.address / "ca.crt"
        ca_file.parent.mkdir(parents=True)
        certificate, key = self.folder / "registry.crt", self.folder / "registry.key"
        make_certificates(self.host, ca_file, certificate, key, bare=self._bare)
        return {"certificate": str(certificate), "key": str(key)}

    def _make_htpasswd(self) -> str:
        import bcrypt  # of the extra [dev]; only logins need it

        path = self.folder / "htpasswd"
        lines = [
            f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
            for name, password in self._users.items()
        ]
        path.write_text("".join(lines))
        return str(path)


def make_certificates(
    host: str, ca_file: Path, certificate: Path, key: Path, *, bare: bool = False
) -> None:
    """A CA, and a certificate of it for the address or name `host`, PEM, good for a day.

    `bare`: without key usages and key identifiers.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarmlite testing CA")])
    ca = _signed(ca_name, ca_name, ca_key.public_key(), ca_key, ca=True, bare=bare)
    own_key = ec.generate_private_key(ec.SECP256R1())
    own_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    own = _signed(own_name, ca_name, own_key.public_key(), ca_key, host=host, bare=bare)
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    certificate.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        own_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    host: str = "",
    bare: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if host:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_alternative(host)]), critical=False
        )
    if not bare:
        builder = _described(builder, public, key, ca=ca)
    return builder.sign(key, hashes.SHA256())


def _described(
    builder: x509.CertificateBuilder,
    public: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.CertificateBuilder:
    """With what RFC 5280 demands of certificates, and Python 3.13 with it."""
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        builder.add_extension(usage, critical=True)
        .add_extension(own, critical=False)
        .add_extension(issuer, critical=False)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
