"""The one cluster object: its settings and its join tokens; its keys are never answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound, Unavailable
from swarmlite.manager import auth
from swarmlite.manager.ca import external, issuing, logins, rotation
from swarmlite.manager.ca.root import WORKER, RootCA, Subject, new_request
from swarmlite.manager.ca.tokens import new_token
from swarmlite.manager.locking import settle_key
from swarmlite.model import defaults
from swarmlite.model.validate import validate_cluster
from swarmlite.proto.control_pb2 import (
    GetRequest,
    GetUnlockKeyResponse,
    MakeLoginTokenRequest,
    MakeLoginTokenResponse,
    UpdateClusterRequest,
)
from swarmlite.proto.objects_pb2 import Cluster
from swarmlite.proto.specs_pb2 import ClusterSpec

from .api import Api, check_version, copy_of

Rotate = Callable[[], Awaitable[object]]


def without_keys(cluster: Cluster) -> Cluster:
    """What may be read of the cluster."""
    copy = copy_of(cluster)
    copy.root_ca.ClearField("ca_key")
    copy.root_ca.rotation.ClearField("ca_key")
    if not cluster.root_ca.HasField("rotation"):
        copy.root_ca.ClearField("rotation")
    copy.spec.ca.ClearField("signing_ca_key")
    copy.ClearField("unlock_key")
    copy.ClearField("network_key")
    if auth.below_admin():
        copy.root_ca.ClearField("join_tokens")
    return copy


async def _settle_authority(cluster: Cluster, spec: ClusterSpec) -> None:
    """Take the new settings into `cluster`, a copy; another root where they ask for one."""
    for authority in spec.ca.external_cas:
        external.check(authority)
    rotate = spec.ca.force_rotate != cluster.spec.ca.force_rotate
    cert, key = spec.ca.signing_ca_cert, spec.ca.signing_ca_key
    if key and not cert:
        raise InvalidSpec("--ca-key is only valid with --ca-cert")
    if cert and not rotate and cert.strip() != cluster.root_ca.ca_cert.strip():
        raise InvalidSpec("--ca-cert is only valid with --rotate")
    cluster.spec.CopyFrom(defaults.fill_cluster(spec))
    cluster.spec.ca.ClearField("signing_ca_cert")
    cluster.spec.ca.ClearField("signing_ca_key")
    if not rotate:
        return
    new = RootCA.given(cert, key) if cert else RootCA.create()
    if not new.key and not spec.ca.external_cas:
        raise InvalidSpec("--ca-cert needs --ca-key, or the --external-ca that has the key")
    rotation.begin(cluster, new)
    if not new.key:  # before any node depends on it
        _, csr = new_request()
        await issuing.issue(cluster, csr, Subject(cluster.id, WORKER, cluster.id))


class Clusters:
    """The calls on the cluster."""

    def __init__(
        self,
        api: Api,
        rotate: Rotate | None = None,
        locked: Callable[[], None] | None = None,
    ) -> None:
        """`rotate` makes a new key for what lies sealed in the store; `locked` brings the unlock
        key that the view says to this manager's own disk (locking.Locking.follow).
        """
        self._api = api
        self._rotate = rotate
        self._locked = locked or (lambda: None)

    def get(self, request: GetRequest) -> Cluster:
        """The cluster, by its id, "default", or nothing."""
        return without_keys(self._find(request.ref))

    def login_token(self, request: MakeLoginTokenRequest) -> MakeLoginTokenResponse:
        """See control.proto."""
        cluster = self._find("")
        if request.role not in logins.SUBJECTS:
            raise InvalidSpec("role: expected admin, operator or read-only")
        if request.valid_s > logins.LONGEST_S:
            raise InvalidSpec(f"valid_s {request.valid_s}: expected {logins.LONGEST_S} at most")
        expires = int(self._api.now().timestamp()) + (request.valid_s or logins.HOUR_S)
        login = logins.Login(logins.check_name(request.name), request.role, expires)
        authority = cluster.root_ca
        token = logins.make(login, authority.ca_cert_hash, authority.join_tokens.manager)
        return MakeLoginTokenResponse(token=token)

    def unlock_key(self) -> GetUnlockKeyResponse:
        """What unlocks a manager after its restart; empty without autolock."""
        return GetUnlockKeyResponse(unlock_key=self._find("").unlock_key)

    async def update(self, request: UpdateClusterRequest) -> Cluster:
        """New settings, new tokens, or both. Who has joined stays; old tokens are refused."""
        cluster = copy_of(self._find(""))
        check_version("cluster", cluster, request.version)
        if request.HasField("spec"):
            validate_cluster(request.spec)
            await _settle_authority(cluster, request.spec)
        if request.rotate_store_key:
            if self._rotate is None:
                raise FailedPrecondition("this manager seals nothing in its store")
            await self._rotate()
        tokens = cluster.root_ca.join_tokens
        if request.rotate_worker_token:
            tokens.worker = new_token(cluster.root_ca.ca_cert_hash)
        if request.rotate_manager_token:
            tokens.manager = new_token(cluster.root_ca.ca_cert_hash)
        if request.settle_restore:
            cluster.ClearField("restored")
        settle_key(cluster, rotate=request.rotate_unlock_key)
        written = await self._api.put(cluster)
        self._follow_lock()
        return without_keys(written)

    def _follow_lock(self) -> None:
        """Whoever is answered has the key on this manager's disk; the others follow."""
        try:
            self._locked()
        except OSError as error:
            raise Unavailable(f"the keys were not sealed yet: {error.strerror}") from error

    def _find(self, ref: str) -> Cluster:
        cluster = self._api.view.cluster
        if cluster is None:
            raise NotFound("there is no cluster yet")
        if ref not in ("", "default", cluster.id, cluster.spec.annotations.name):
            raise NotFound(f"cluster {ref} not found")
        return cluster
