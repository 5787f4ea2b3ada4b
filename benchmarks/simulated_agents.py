"""Agents without containers, over real mTLS streams: `python -m benchmarks.simulated_agents ...`.

Each joins with the worker's token, holds a session as an agent does and begins another when it
ends, and says RUNNING of every task that it is told to run. Once all have a session, and were told
what is theirs, it prints "ready" and the bytes of these messages.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from swarmlite import rpc
from swarmlite.manager.ca import anyone
from swarmlite.proto.ca_pb2 import IssueNodeCertificateRequest
from swarmlite.proto.ca_pb2_grpc import CAStub
from swarmlite.proto.dispatcher_pb2 import (
    AgentMessage,
    AssignmentChange,
    Hello,
    ManagerMessage,
    TaskStatusUpdate,
)
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub
from swarmlite.proto.types_pb2 import (
    TASK_STATE_RUNNING,
    TASK_STATE_SHUTDOWN,
    NodeDescription,
    TaskStatus,
)

PERIOD_S, RETRY_S = 5.0, 0.5
TOLD = 5
TARGET = (("grpc.ssl_target_name_override", "swarm-manager"),)


def description(number: int) -> NodeDescription:
    found = NodeDescription(
        hostname=f"sim{number}", data_path_addr=f"10.255.{number >> 8}.{number & 255}"
    )
    found.platform.os, found.platform.architecture = "linux", "amd64"
    found.resources.nano_cpus, found.resources.memory_bytes = 64 * 10**9, 256 << 30
    return found


class SimulatedAgent:
    lost = 0  # sessions, of all

    def __init__(self, number: int, address: str, root: bytes) -> None:
        self.number, self.address, self.root = number, address, root
        self.told = asyncio.Event()
        """Of a session and all assignments that stand at its beginning."""
        self.told_bytes = 0
        self._writing = asyncio.Lock()
        self._key = ec.generate_private_key(ec.SECP256R1())

    async def join(self, token: str) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "new")])
        csr = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(name)
            .sign(self._key, hashes.SHA256())
        )
        credentials = grpc.ssl_channel_credentials(self.root, anyone.key(), anyone.CERT)
        async with grpc.aio.secure_channel(self.address, credentials, TARGET) as channel:
            issued = await CAStub(channel).IssueNodeCertificate(
                IssueNodeCertificateRequest(
                    token=token,
                    csr=csr.public_bytes(serialization.Encoding.PEM),
                    description=description(self.number),
                )
            )
        self._certificate = issued.certificate

    async def run(self, gate: asyncio.Semaphore) -> None:
        """Sessions, one after the other; `gate` bounds how many agents begin one at a time."""
        key = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        credentials = grpc.ssl_channel_credentials(self.root, key, self._certificate)
        options = (*rpc.CHANNEL_OPTIONS, *TARGET, ("grpc.use_local_subchannel_pool", 1))
        while True:
            async with grpc.aio.secure_channel(self.address, credentials, options) as channel:
                try:
                    await self._hold(DispatcherStub(channel), gate)
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                    self._lost(error)
            await asyncio.sleep(RETRY_S)

    def _lost(self, error: Exception) -> None:
        """A few of them say why: on a machine that is too slow for so many it is all of them."""
        SimulatedAgent.lost += 1
        if SimulatedAgent.lost <= TOLD:
            words = error.details() if isinstance(error, grpc.aio.AioRpcError) else repr(error)
            print(f"sim{self.number}: session ended: {words}", file=sys.stderr)

    async def _hold(self, dispatcher: DispatcherStub, gate: asyncio.Semaphore) -> None:
        hello = Hello(description=description(self.number), instance=str(self.number))
        async with gate:  # the connection is made within: a thousand handshakes at once time out
            call = dispatcher.Session()
            await call.write(AgentMessage(hello=hello))
            message = await call.read()
        beats = asyncio.create_task(self._beat(call))
        try:
            while message is not grpc.aio.EOF:
                self._count(message)
                if reply := self._react(message):
                    await self._write(call, reply)
                message = await call.read()
        finally:
            beats.cancel()

    def _count(self, message: ManagerMessage) -> None:
        if self.told.is_set():
            return
        self.told_bytes += message.ByteSize()
        if message.HasField("assignments") and not message.assignments.more:
            self.told.set()

    async def _write(self, call: grpc.aio.StreamStreamCall, message: AgentMessage) -> None:
        async with self._writing:  # gRPC takes one at a time
            await call.write(message)

    async def _beat(self, call: grpc.aio.StreamStreamCall) -> None:
        while True:
            await asyncio.sleep(PERIOD_S - 0.5 * random.random())
            await self._write(call, AgentMessage())

    @staticmethod
    def _react(message: ManagerMessage) -> AgentMessage | None:
        statuses = []
        for change in message.assignments.changes:
            task = change.task
            if change.action != AssignmentChange.UPDATE or not task.id:
                continue
            state = (
                TASK_STATE_RUNNING
                if task.desired_state <= TASK_STATE_RUNNING
                else TASK_STATE_SHUTDOWN
            )
            if task.status.state < state:
                status = TaskStatus(state=state, message="started", healthy=True)
                status.timestamp.FromNanoseconds(time.time_ns())
                statuses.append(TaskStatusUpdate(task_id=task.id, status=status))
        return AgentMessage(statuses=statuses) if statuses else None


async def main(options: argparse.Namespace) -> None:
    with open(options.ca, "rb") as file:  # noqa: PTH123 - before anything else runs
        root = file.read()
    numbers = range(options.first, options.first + options.count)
    agents = [SimulatedAgent(k, options.address, root) for k in numbers]
    gate = asyncio.Semaphore(8)

    async def join(agent: SimulatedAgent) -> None:
        async with gate:
            await agent.join(options.token)

    await asyncio.gather(*map(join, agents))
    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(agent.run(gate))
        for agent in agents:
            await agent.told.wait()
        print("ready", sum(agent.told_bytes for agent in agents), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    asyncio.run(main(parser.parse_args()))
