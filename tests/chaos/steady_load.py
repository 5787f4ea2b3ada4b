"""A steady load on a cluster under faults: a user creates, updates, scales and removes a service,
clients in containers ask for names and send requests to a VIP; and what of it must hold.

Clients are threads in the network namespaces of the containers of the service `client`. What they
send is judged by what the kernel shows of the backends, not by what the program says.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import grpc

from swarmlite.kernel import namespaces
from swarmlite.proto.control_pb2 import (
    CreateServiceRequest,
    GetRequest,
    RemoveRequest,
    UpdateServiceRequest,
)
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.testing import Cluster, Host, checkers, sampler
from swarmlite.testing.sampler import Seen
from swarmlite.testing.writing import OPTIONS

RESOLVER = ("127.0.0.11", 53)
AGAIN_S = 2.5
"""As a resolver that asks again."""
NO_ERROR, NO_SUCH_NAME = 0, 3
REQUEST_S = 2.0
LEAVES_S = 3.0
"""So long after a backend came, died or left nothing goes to where there is none."""
EVERY_S, CHANGE_S = 0.1, 1.0
"""Between what each client asks, and what a user changes."""
CALL_S = 5.0
NAME = "load"
UNAVAILABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


@dataclass(frozen=True)
class Failed:
    """A request to the VIP that was not answered as it should be."""

    begun: float
    ended: float
    host: str
    why: str


class Load:
    """While inside the context; then `check` raises for what must not have been."""

    def __init__(self, cluster: Cluster, image: str, served: str = "web") -> None:
        """`served` is the service that clients ask, as `chaos_world.web` makes it."""
        self.cluster, self._image, self._served = cluster, image, served
        self.names = self.requests = self.changes = 0
        """Answered, answered, acknowledged."""
        self.name_s = 10.0
        """How long a name may take: a resolver gives it up then."""
        self.unanswered: list[str] = []
        self.failed: list[Failed] = []
        self.wrong: list[str] = []
        self._excused: list[tuple[float, float, frozenset[str]]] = []
        self._stop, self._go = threading.Event(), threading.Event()
        self._go.set()
        self._busy = threading.Lock()
        self._watched = sampler.Sampler(cluster.hosts)
        self._acknowledged: int | None = None
        """The replicas that the service has, where it is known."""
        self._removed: set[str] = set()
        """The ids that were asked to be removed: a manager whose view is late may still show one,
        and refuses then to change it."""
        self._sockets = itertools.cycle([h.paths.manager_socket for h in cluster.managers])
        self._threads = [
            threading.Thread(target=self._ask, args=(host,), daemon=True) for host in cluster.hosts
        ]
        self._threads.append(threading.Thread(target=self._write, daemon=True))

    def __enter__(self) -> Self:
        self._watched.__enter__()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        if error[0] is None:
            self._gone()

    def end(self) -> None:
        """Ask and write no more."""
        self._go.set()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._watched.__exit__(None, None, None)

    @contextmanager
    def excused(self, *hosts: Host) -> Iterator[None]:
        """Inside, and for as long as a backend has to leave, requests of clients on these hosts may
        fail: the fault cuts them off from backends that live, or from all who could say what died.
        """
        begun = time.monotonic()
        named = frozenset(host.name for host in hosts or self.cluster.hosts)
        try:
            yield
        finally:
            self._excused.append((begun, time.monotonic() + LEAVES_S, named))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is asked, and of the service that is written nothing is left."""
        self._go.clear()
        try:
            with self._busy:
                self._gone()
                yield
        finally:
            self._go.set()

    def answered(self, more: int) -> None:
        """Wait until so many more names, and requests, were answered."""
        names, requests = self.names + more, self.requests + more
        self.cluster.wait(lambda: self.names > names, 60, f"{more} names")
        self.cluster.wait(lambda: self.requests > requests, 60, f"{more} requests")

    def check(self) -> None:
        """Raises CommandFailed with all that must not have been."""
        seen = f"of {self.names} names, {self.requests} requests, {self.changes} changes:"
        checkers.none(self.violations(), f"the steady load failed, {seen}")
        assert self.names and self.requests and self.changes, seen

    def violations(self) -> list[str]:
        """What must not have been."""
        judged = [f"{f.why} from {f.host}" for f in self.failed if self._judged(f)]
        return [*self.unanswered, *judged, *self.wrong]

    def _judged(self, failed: Failed) -> bool:
        """Whether no backend had come or gone lately, and no fault excuses it."""
        if any(
            begun - REQUEST_S <= failed.begun <= ended and failed.host in hosts
            for begun, ended, hosts in self._excused
        ):
            return False
        since = failed.begun - LEAVES_S
        lately = [seen for at, seen in self._watched.samples if since <= at <= failed.ended + 0.5]
        backends = [frozenset(s for s in seen if self._serves(s)) for seen in lately]
        return len(set(backends)) == 1 and bool(backends[0])

    def _serves(self, seen: Seen) -> bool:
        return seen.task.startswith(f"{self._served}.")

    # clients
    def _ask(self, host: Host) -> None:
        client: Seen | None = None
        for name in itertools.cycle((self._served, f"tasks.{self._served}")):
            self._go.wait()
            if self._stop.wait(EVERY_S):
                return
            if client is None or not self._lives(client):
                client = next((s for s in _containers(host) if s.task.startswith("client.")), None)
            if client is None or not self._go.is_set():
                continue
            with _inside(client) as entered:
                if not entered:
                    continue
                begun = time.monotonic()
                until = begun + self.name_s
                goes_on = lambda c=client, at=until: time.monotonic() < at and self._lives(c)  # noqa: E731
                addresses = _resolved(name, goes_on)
                if addresses is not None and (addresses or name != self._served):
                    self.names += 1  # of tasks there may be none
                elif self._lives(client):
                    took = time.monotonic() - begun
                    self.unanswered.append(f"{name} was not answered in {took:.0f} s: {host.name}")
                if addresses and name == self._served:
                    self._request(host, client, addresses[0])

    def _request(self, host: Host, client: Seen, address: str) -> None:
        begun = time.monotonic()
        try:
            body = _got(address)
        except OSError as error:
            if self._lives(client):
                why = f"a request to {self._served}: {error}"
                self.failed.append(Failed(begun, time.monotonic(), host.name, why))
            return
        if body.split()[:1] == [self._served]:
            self.requests += 1
        else:
            self.wrong.append(f"{self._served} of {host.name} answered {body[:80]!r}")

    def _lives(self, client: Seen) -> bool:
        try:
            return not self._stop.is_set() and sampler.start_ticks(client.pid) == client.start_ticks
        except (OSError, IndexError):
            return False

    # users
    def _write(self) -> None:
        chance = random.Random(len(self.cluster.hosts))
        while not self._stop.wait(CHANGE_S):
            self._go.wait()
            with self._busy:
                if not self._go.is_set() or self._stop.is_set():
                    continue
                try:
                    with self._control() as control:
                        self._change(control, chance)
                    self.changes += 1
                except grpc.RpcError as error:
                    self._refused(error)

    def _change(self, control: ControlStub, chance: random.Random) -> None:
        """Whatever is next: it is made, changed and scaled a few times, removed."""
        try:
            service = control.GetService(GetRequest(ref=NAME), timeout=CALL_S)
        except grpc.RpcError as error:
            if _code(error) is not grpc.StatusCode.NOT_FOUND:
                raise
            known, self._acknowledged = self._acknowledged, None  # until it is answered
            control.CreateService(CreateServiceRequest(spec=self._spec()), timeout=CALL_S)
            if known is not None:
                self.wrong.append(f"{NAME} was acknowledged, and then its name was free")
            self._acknowledged = 2
            return
        self._acknowledged = None
        if chance.random() < 0.2:
            self._removed.add(service.id)
            control.RemoveService(RemoveRequest(ref=service.id), timeout=CALL_S)
            return
        request = UpdateServiceRequest(service_id=service.id, version=service.meta.version)
        request.spec.CopyFrom(service.spec)
        if chance.random() < 0.3:
            request.spec.task.container.env[:] = [f"CHANGE={self.changes}"]
        else:
            request.spec.replicated.replicas = chance.randint(1, 4)
        changed: Service = control.UpdateService(request, timeout=CALL_S)
        self._acknowledged = changed.spec.replicated.replicas

    def _spec(self) -> ServiceSpec:
        spec = ServiceSpec()
        spec.annotations.name = NAME
        spec.replicated.replicas = 2
        container = spec.task.container
        container.image = self._image
        container.command[:] = ["sleep"]
        container.args[:] = ["36000"]
        container.stop_grace_period.FromNanoseconds(0)
        spec.task.networks.add(target="net1")
        spec.task.restart.delay.FromNanoseconds(0)
        return spec

    def _refused(self, error: grpc.RpcError) -> None:
        """What no manager answered is what faults do; another's write too, where one was lost."""
        code = _code(error)
        if code is grpc.StatusCode.NOT_FOUND and any(i in error.details() for i in self._removed):  # type: ignore[attr-defined]
            return
        if code not in (*UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.ALREADY_EXISTS):
            self.wrong.append(f"a change of {NAME} was refused: {code} {error.details()}")  # type: ignore[attr-defined]

    def _gone(self) -> None:
        """What was acknowledged is there; then it is removed, from every host that is on."""
        if self._acknowledged is not None:
            self.cluster.wait(self._kept, 60, f"{NAME} with {self._acknowledged} replicas")

        def removed() -> bool:
            with self._control() as control:
                try:
                    control.RemoveService(RemoveRequest(ref=NAME), timeout=CALL_S)
                except grpc.RpcError as error:
                    return _code(error) is grpc.StatusCode.NOT_FOUND
            return False

        self.cluster.wait(removed, 60, f"the removal of {NAME}")
        self._acknowledged = None
        self.cluster.wait(lambda: not self._left(), 60, f"no container of {NAME}")

    def _kept(self) -> bool:
        with self._control() as control:
            try:
                service = control.GetService(GetRequest(ref=NAME), timeout=CALL_S)
            except grpc.RpcError:
                return False
        return bool(service.spec.replicated.replicas == self._acknowledged)

    def _left(self) -> list[Seen]:
        on = [host for host in self.cluster.hosts if host.on]
        return [s for s in sampler.containers(on) if s.task.startswith(f"{NAME}.")]

    @contextmanager
    def _control(self) -> Iterator[ControlStub]:
        """The next manager's API."""
        path = next(self._sockets)
        with grpc.insecure_channel(f"unix:{path}", options=OPTIONS) as channel:
            yield ControlStub(channel)


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    assert isinstance(error, grpc.Call)
    return error.code()


def _containers(host: Host) -> frozenset[Seen]:
    return sampler.containers([host]) if host.on else frozenset()


@contextmanager
def _inside(client: Seen) -> Iterator[bool]:
    """This thread in the container's network; whether it is still there. No namespace is held."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        try:
            theirs = os.open(f"/proc/{client.pid}/ns/net", os.O_RDONLY)
        except OSError:
            yield False
            return
        try:
            namespaces.setns(theirs, namespaces.CLONE_NEWNET)
        finally:
            os.close(theirs)
        try:
            yield True
        finally:
            namespaces.setns(own, namespaces.CLONE_NEWNET)
    finally:
        os.close(own)


def _resolved(name: str, goes_on: Callable[[], bool]) -> list[str] | None:
    """A name's addresses, asked for as a resolver does, again and again; None without an answer."""
    number = random.getrandbits(16)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(0.25)
        asked.connect(RESOLVER)
        again = 0.0
        while goes_on():
            with contextlib.suppress(OSError):
                if time.monotonic() >= again:
                    again = time.monotonic() + AGAIN_S
                    asked.send(question)
                answer = asked.recv(4096)
                if answer[:2] == question[:2] and answer[3] & 15 in (NO_ERROR, NO_SUCH_NAME):
                    return _addresses(answer, len(question))
    return None


def _addresses(answer: bytes, at: int) -> list[str]:
    """Of a message's A records, whose names are pointers to the question's."""
    found = []
    for _ in range(struct.unpack(">H", answer[6:8])[0]):
        while answer[at] and answer[at] < 0xC0:
            at += answer[at] + 1
        at += 2 if answer[at] else 1
        kind, _, _, length = struct.unpack(">HHIH", answer[at : at + 10])
        at += 10
        if kind == 1:
            found.append(socket.inet_ntoa(answer[at : at + 4]))
        at += length
    return found


def _got(address: str) -> str:
    """The body that a web server answers. Raises OSError."""
    deadline = time.monotonic() + REQUEST_S
    with socket.create_connection((address, 80), REQUEST_S) as asked:
        asked.settimeout(REQUEST_S)
        asked.sendall(b"GET / HTTP/1.0\r\n\r\n")
        got = b""
        while chunk := asked.recv(4096):
            got += chunk
            if time.monotonic() > deadline:
                raise TimeoutError("no end of the answer")
    head, _, body = got.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise OSError(f"answered {got[:60]!r}")
    return body.decode(errors="replace")


def standing(hosts: Sequence[Host]) -> frozenset[Seen]:
    """The containers that run, without those that the load makes and removes."""
    return frozenset(s for s in sampler.containers(hosts) if not s.task.startswith(f"{NAME}."))
