"""Names in sandboxes: services, tasks, aliases, and everyone else's through the host."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from network_world import World, read_reply, resolve

from swarmlite.network.dns import forward, packet
from swarmlite.network.dns.records import MAX_ANSWERS, Names, Zones
from swarmlite.network.view import View
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint
from swarmlite.proto.types_pb2 import DNSConfig


async def test_names_of_services_tasks_and_aliases_are_answered(world: World) -> None:
    """VIP, task addresses, dnsrr, aliases, any case, AAAA without data, PTR; TCP as UDP."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    web.aliases.add(network_id=net.id, names=["www"])
    rr = world.service("rr", dnsrr=True)
    for number, host in enumerate([one, two]):
        await world.task(host, f"web{number}", (net, f"10.1.0.1{number}/24"), service=web)
        await world.task(host, f"rr{number}", (net, f"10.1.0.3{number}/24"), service=rr)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    tasks = ["10.1.0.10", "10.1.0.11"]
    assert (await resolve(one, client, "web")).addresses == ["10.1.0.2"]
    assert (await resolve(one, client, "WeB")).addresses == ["10.1.0.2"]
    assert (await resolve(one, client, "www")).addresses == ["10.1.0.2"]
    assert (await resolve(one, client, "web", transport="tcp")).addresses == ["10.1.0.2"]
    assert sorted((await resolve(one, client, "tasks.web")).addresses) == tasks
    assert sorted((await resolve(one, client, "rr")).addresses) == ["10.1.0.30", "10.1.0.31"]
    nodata = await resolve(one, client, "web", kind=packet.AAAA)
    assert (nodata.code, nodata.addresses) == (0, [])
    pointer = await resolve(one, client, "10.0.1.10.in-addr.arpa", kind=packet.PTR)
    assert len(pointer.addresses) == 1
    world.change(f"{net.id}/web1", in_rotation=False)
    await world.tell()
    assert (await resolve(one, client, "tasks.web")).addresses == ["10.1.0.10"]


async def test_a_tasks_own_names_are_answered_and_its_address_leads_back_to_one(
    world: World,
) -> None:
    """Task name, short id, host name, each with the network's, before it is in rotation too."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    web.aliases.add(network_id=net.id, names=["www"])
    await world.task(two, "web0", (net, "10.1.0.10/24"), service=web)
    container_id = "0123456789abcdef" * 4
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    world.change(
        f"{net.id}/web0",
        name="web.1.xyz",
        container_id=container_id,
        hostname="rabbit-1",
        in_rotation=False,
    )
    await world.tell()
    for name in ("web.1.xyz", container_id[:12], "rabbit-1"):
        for asked in (name, f"{name}.front", f"{name}.FRONT"):
            assert (await resolve(one, client, asked)).addresses == ["10.1.0.10"], asked
    for asked in ("web.front", "www.front", "web"):
        assert (await resolve(one, client, asked)).addresses == ["10.1.0.2"], asked
    pointer = await resolve(one, client, "10.0.1.10.in-addr.arpa", kind=packet.PTR)
    assert bytes.fromhex(pointer.addresses[0]) == packet.wire_name("web.1.xyz.front")
    pointer = await resolve(one, client, "2.0.1.10.in-addr.arpa", kind=packet.PTR)
    assert bytes.fromhex(pointer.addresses[0]) == packet.wire_name("web")


async def test_names_of_other_networks_are_not_answered(world: World) -> None:
    """They are passed on like any foreign name; without resolvers that is a failure."""
    one = await world.add_host()
    front = world.network("front", 4097, "10.1.0.0/24", internal=True)
    back = world.network("back", 4098, "10.2.0.0/24")
    db = world.service("db", (back, "10.2.0.2/24"))
    await world.task(one, "db0", (back, "10.2.0.10/24"), service=db)
    client = await world.task(one, "client", (front, "10.1.0.20/24"))
    assert (await resolve(one, client, "db")).code == packet.SERVER_FAILURE


async def test_foreign_names_are_asked_of_the_hosts_resolvers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the host's namespace, which has no other way than its own resolver."""
    monkeypatch.setattr("swarmlite.network.resolvers.host_resolvers", lambda: ["192.168.77.1"])
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    one.serve_dns("192.168.77.1", "203.0.113.7")
    assert (await resolve(one, client, "example.com")).addresses == ["203.0.113.7"]
    own = await world.task(
        one, "own", (net, "10.1.0.21/24"), dns=DNSConfig(nameservers=["192.168.77.1"])
    )
    assert (await resolve(one, own, "example.org")).addresses == ["203.0.113.7"]


def query(name: str, kind: int = packet.A, extra: bytes = b"") -> bytes:
    head = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 1 if extra else 0)
    return head + packet.wire_name(name) + struct.pack(">HH", kind, 1) + extra


def test_an_answer_too_long_for_udp_is_cut_and_says_so() -> None:
    """512 bytes, or what the client's OPT record allows."""
    records = [packet.address_record(socket.inet_aton(f"10.0.0.{n}")) for n in range(100)]
    cut = packet.fit(packet.parse(query("tasks.web")), records)
    assert len(cut) <= 512
    assert cut[2] & 2
    wide = query("tasks.web", extra=b"\0" + struct.pack(">HHIH", packet.OPT, 4096, 0, 0))
    whole = packet.fit(packet.parse(wide), records)
    assert not whole[2] & 2
    assert whole.count(b"\xc0\x0c") == 100


def test_an_answer_that_is_ready_is_what_would_be_made_until_the_names_change() -> None:
    """Every order, the number of each question, and none of what was before a change."""
    view = View("here")
    view.take([AssignmentChange(endpoint=task_of_web(number)) for number in (1, 2, 3)])
    zones = Zones(view)
    names = Names(zones, ["net"])

    def ask(data: bytes) -> bytes:
        question = packet.parse(data)
        records = names.find(question.name, question.type)
        assert records is not None
        names.keep(data, records, lambda turn: packet.fit(question, turn))
        return packet.fit(question, records)

    asked = query("tasks.web")
    assert names.answer(asked) is None
    made = {ask(asked) for _ in range(60)}
    ready = {names.answer(asked) for _ in range(60)}
    assert len(ready) == 3
    assert ready == made
    again = names.answer(b"\x12\x34" + asked[2:])
    assert again is not None
    assert asked[:2] + again[2:] in ready and again[:2] == b"\x12\x34"
    others = query("tasks.web", packet.AAAA), asked.replace(b"web", b"WEB"), asked[:-1]
    assert [names.answer(other) for other in others] == [None] * 3
    nothing = ask(query("tasks.web", packet.AAAA))
    assert names.answer(query("tasks.web", packet.AAAA)) == nothing
    gone = AssignmentChange(action=AssignmentChange.REMOVE, endpoint=task_of_web(3))
    zones.forget(view.take([gone]).networks)
    assert names.answer(asked) is None
    assert {ask(asked) for _ in range(60)} == {names.answer(asked) for _ in range(60)}
    assert len(read_reply(ask(asked)).addresses) == 2


def test_the_answers_that_are_ready_are_bounded() -> None:
    """However many questions a container thinks of, and however long the answers are."""
    names = Names(Zones(View("here")), [])
    assert names.answer(query("many")) is None
    records = [packet.address_record(socket.inet_aton(f"10.0.0.{n}")) for n in range(9)]
    names.keep(query("many"), records, lambda _: bytes(512))
    names.keep(query("a" * 60 + "." + "b" * 60), records[:1], lambda _: bytes(512))
    for number in range(5 * MAX_ANSWERS):
        names.keep(query(f"n{number}"), records[:8], lambda _: bytes(512))
    kept = [n for n in range(5 * MAX_ANSWERS) if names.answer(query(f"n{n}"))]
    assert 0 < len(kept) <= MAX_ANSWERS
    assert not names.answer(query("many")) and not names.answer(query("a" * 60 + "." + "b" * 60))


def task_of_web(number: int) -> Endpoint:
    return Endpoint(
        id=f"net/t{number}", network_id="net", addr=f"10.0.0.{number}/24", task_id=f"t{number}",
        service_id="s", service_name="web", in_rotation=True,
    )  # fmt: skip


@given(st.binary(max_size=80))
def test_malformed_packets_are_ignored(data: bytes) -> None:
    """Anything is either a question or Malformed; nothing else escapes."""
    try:
        question = packet.parse(data)
    except packet.Malformed:
        return
    packet.answer(question, [])


async def test_silent_resolvers_end_in_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them asked, then SERVFAIL, once; and nothing stays pending."""
    monkeypatch.setattr(forward, "TIMEOUT_S", 0.02)
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))

    async def make(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        raise OSError("none")

    asker = forward.Forwarder([channel], make, lambda: ["127.0.0.1"])
    answers: list[bytes] = []
    data = query("example.com")
    assert asker.ask(data, packet.parse(data), answers.append)
    while not answers:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # a second answer would come now
    assert [answer[3] & 0xF for answer in answers] == [packet.SERVER_FAILURE]
    asker.close()
    silent.close()


class _Answering:
    """A resolver on a loopback address of its own that answers once."""

    def __init__(self, family: socket.AddressFamily, address: str, port: int = 0) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.settimeout(10.0)
        self.port: int = self.socket.getsockname()[1]

    def answer(self, code: int = packet.NO_ERROR) -> None:
        data, client, *_ = self.socket.recvfrom(2000)
        self.socket.sendto(data[:2] + bytes([0x81, 0x80 | code]) + data[4:], client)


async def test_a_resolver_that_cannot_be_sent_to_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next is asked at once: nobody waits for what was never sent."""
    monkeypatch.setattr(forward, "TIMEOUT_S", 1000.0)
    resolver = _Answering(socket.AF_INET, "127.0.0.1")
    monkeypatch.setattr(forward, "PORT", resolver.port)
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    async def make(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        raise OSError("none")

    # No socket of that family; one that the kernel refuses to send to; then one that answers.
    servers = ["2001:db8::53", "255.255.255.255", "127.0.0.1"]
    asker = forward.Forwarder([channel], make, lambda: servers)
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    data = query("example.com")
    assert asker.ask(data, packet.parse(data), answers.put_nowait)
    await asyncio.to_thread(resolver.answer)
    assert (await answers.get())[:2] == data[:2]
    servers[:] = ["2001:db8::53"]
    assert not asker.ask(data, packet.parse(data), answers.put_nowait)
    asker.close()
    resolver.socket.close()


async def test_a_silent_resolver_costs_nothing_and_the_first_has_the_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All are asked at once. The first one's answer counts, also when it comes after another's;
    where it is silent the other's does, soon the first time and at once from then on.
    """
    monkeypatch.setattr(forward, "TIMEOUT_S", 1000.0)
    monkeypatch.setattr(forward, "HEAD_START_S", 500.0)
    first = _Answering(socket.AF_INET, "127.0.0.2")
    second = _Answering(socket.AF_INET, "127.0.0.3", first.port)
    monkeypatch.setattr(forward, "PORT", first.port)
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    async def make(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        raise OSError("none")

    asker = forward.Forwarder([channel], make, lambda: ["127.0.0.2", "127.0.0.3"])
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    def ask() -> None:
        data = query("example.com")
        assert asker.ask(data, packet.parse(data), answers.put_nowait)

    ask()
    await asyncio.to_thread(second.answer, packet.NAME_ERROR)
    await asyncio.to_thread(first.answer)
    assert (await answers.get())[3] & 0xF == packet.NO_ERROR
    ask()  # a failure is not an answer
    await asyncio.to_thread(first.answer, packet.SERVER_FAILURE)
    await asyncio.to_thread(second.answer)
    assert (await answers.get())[3] & 0xF == packet.NO_ERROR
    monkeypatch.setattr(forward, "HEAD_START_S", 0.001)
    ask()
    await asyncio.to_thread(second.answer)
    assert (await answers.get())[3] & 0xF == packet.NO_ERROR
    monkeypatch.setattr(forward, "HEAD_START_S", 500.0)
    ask()  # nobody waits for the first one now
    await asyncio.to_thread(second.answer)
    assert (await answers.get())[3] & 0xF == packet.NO_ERROR
    asker.close()
    first.socket.close()
    second.socket.close()


async def test_resolvers_are_asked_by_ipv6_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And a host that names such ones only has names in its containers."""
    try:
        resolver = _Answering(socket.AF_INET6, "::1")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    monkeypatch.setattr(forward, "PORT", resolver.port)
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 0:0:0:0:0:0:0:1\nnameserver x\noptions y\n")
    servers = forward.host_resolvers(conf)
    assert servers == ["0:0:0:0:0:0:0:1"]
    channel = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    async def make(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        raise OSError("none")

    asker = forward.Forwarder([channel], make, lambda: servers)
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    data = query("example.com")
    assert asker.ask(data, packet.parse(data), answers.put_nowait)
    await asyncio.to_thread(resolver.answer)
    assert (await answers.get())[:2] == data[:2]
    asker.close()
    resolver.socket.close()


FLOOD = """
import itertools, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.11", 53))
name = bytes.fromhex(sys.argv[1])
print("ready", flush=True)
for number in itertools.count():
    query = (number % 65536).to_bytes(2, "big") + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name
    try:
        s.send(query + b"\\0\\1\\0\\1")
    except OSError:
        pass
"""


@pytest.mark.parametrize("flooded", ["web", "elsewhere.example", "unanswered.example"])
async def test_a_flood_of_questions_from_one_container_leaves_the_others_answered(
    world: World, monkeypatch: pytest.MonkeyPatch, flooded: str
) -> None:
    """Each has its turn, with names of ours and with others', by UDP and by TCP."""
    monkeypatch.setattr("swarmlite.network.resolvers.host_resolvers", lambda: ["127.0.0.54"])
    one = await world.add_host()
    one.serve_dns("127.0.0.54", "203.0.113.1", silent="unanswered")
    net = world.network("front", 4097, "10.1.0.0/24")
    world.service("web", (net, "10.1.0.2/24"))
    noisy = await world.task(one, "noisy", (net, "10.1.0.11/24"))
    quiet = await world.task(one, "quiet", (net, "10.1.0.12/24"))
    flood = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net={noisy.netns}", sys.executable, "-I", "-S", "-c", FLOOD),
        packet.wire_name(flooded).hex(),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert flood.stdout is not None
        await flood.stdout.readline()
        for transport in ("udp", "tcp") * 2:
            answer = await resolve(one, quiet, "web", transport=transport)
            assert answer.addresses == ["10.1.0.2"]
            assert (await resolve(one, quiet, "other.example")).addresses == ["203.0.113.1"]
    finally:
        flood.kill()
        await flood.wait()
