"""`swarmlite login swarm://MANAGER`: a user's certificate, kept as a context.

As a node that joins does: whoever answers is asked for the root only, and the token goes out once
the root's digest is the one that it names. The key is made here and stays here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import click

from swarmlite.client.contexts import Context, Contexts, check_name
from swarmlite.client.reach import address
from swarmlite.client.reach.managers import parse
from swarmlite.errors import AlreadyExists, InvalidSpec
from swarmlite.manager.ca import logins
from swarmlite.manager.ca.root import new_request
from swarmlite.manager.ca.tokens import JoinToken
from swarmlite.node import join
from swarmlite.proto import ca_pb2 as pb


def login(server: str, token: str, name: str) -> None:
    """Raises InvalidSpec, AlreadyExists, PermissionDenied, Unavailable; then nothing is kept."""
    if not token:
        raise InvalidSpec("give --token, as `swarmlite user token NAME` of an admin prints it")
    address.check(server)
    digest = logins.ca_digest_of(token)
    contexts = Contexts()
    if name and check_name(name) in contexts.names():
        raise AlreadyExists(f'context "{name}" already exists')
    [(host, port), *_] = parse(server.removeprefix("swarm://"))
    remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    root, key, answer = asyncio.run(_issued(remote, token.strip(), digest))
    managers = [peer.addr for peer in answer.managers if peer.addr and peer.addr != remote]
    role = {number: word for word, number in logins.ROLES.items()}[answer.role]
    made = Context(
        name=name or _free(answer.name.replace("@", "_"), contexts),
        host="swarm://" + ",".join([remote, *managers]),
        description=f"{answer.name}, {role}",
        pem={"ca": root, "cert": answer.certificate, "key": key},
    )
    contexts.add(made)
    contexts.use(made.name)
    click.echo(f"Login Succeeded: {answer.name}, {role}")
    click.echo(f'Current context is now "{made.name}"', err=True)


async def _issued(remote: str, token: str, digest: str) -> tuple[bytes, bytes, Any]:
    leaf, _ = await asyncio.to_thread(join.presented, remote)
    root = await join.root_certificate(remote, leaf, JoinToken(digest, ""))
    key, csr = new_request("swarmlite-user")
    request = pb.IssueUserCertificateRequest(token=token, csr=csr)
    return root, key, await join.ask(remote, root, "IssueUserCertificate", request)


def _free(name: str, contexts: Contexts) -> str:
    taken = {*contexts.names(), "default"}
    choices = (name, *(f"{name}-{count}" for count in range(2, 1000)))
    return next(each for each in choices if each not in taken)
