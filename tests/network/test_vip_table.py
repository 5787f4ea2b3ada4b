"""A sandbox's table as hand-packed messages: what the kernel has of it is what nft would make."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from network_world import in_thread

from swarmlite.errors import FailedPrecondition
from swarmlite.kernel import namespaces
from swarmlite.network import nft, vip_table
from swarmlite.network.load_balancer import chain_name
from swarmlite.network.netlink import Message

VIPS = {
    "10.0.1.2": ["10.0.0.9"],
    "10.0.1.3": ["10.0.0.3", "10.0.0.4", "10.0.0.5"],
    "10.0.1.4": [],
}
PORTS = (4153, 4154)
TABLE = """
table ip swarmlite-sandbox {
  set vips { type ipv4_addr; }
  map balance { type ipv4_addr : verdict; }
  chain resolver {
    ip daddr 127.0.0.11 udp dport 53 udp dport set 4153 notrack
    ip saddr 127.0.0.11 udp sport 4153 udp sport set 53 notrack
    ip daddr 127.0.0.11 tcp dport 53 tcp dport set 4154 notrack
    ip saddr 127.0.0.11 tcp sport 4154 tcp sport set 53 notrack
  }
  chain names {
    type filter hook output priority -300; policy accept;
    ip daddr 127.0.0.11 goto resolver
    ip saddr 127.0.0.11 goto resolver
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr vmap @balance
  }
  chain refuse {
    ip protocol tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
  chain unbalanced {
    type filter hook output priority 0; policy accept;
    ct state != established ip daddr @vips goto refuse
  }
}
"""


def by_nft(vips: vip_table.Vips, start: int) -> str:
    """The same table in nft's words."""
    lines = [TABLE]
    for vip, backends in vips.items():
        chain = chain_name(vip)
        lines.append(f"add chain ip swarmlite-sandbox {chain}")
        turn = start % len(backends) if backends else 0
        ordered = [*backends[turn:], *backends[:turn]]
        choices = ", ".join(f"{n} : {address}" for n, address in enumerate(ordered))
        if len(backends) == 1:
            lines.append(f"add rule ip swarmlite-sandbox {chain} dnat to {backends[0]}")
        elif backends:
            turns = f"numgen inc mod {len(backends)} map {{ {choices} }}"
            lines.append(f"add rule ip swarmlite-sandbox {chain} dnat ip to {turns}")
        lines.append(f"add element ip swarmlite-sandbox balance {{ {vip} : goto {chain} }}")
        lines.append(f"add element ip swarmlite-sandbox vips {{ {vip} }}")
    return "\n".join(lines)


def nft_command(*words: str, text: str = "") -> str:
    return subprocess.run(
        ["nft", *words], input=text, capture_output=True, text=True, check=True
    ).stdout


def listed() -> list[str]:
    """What the namespace of this thread has; chains stand in no order that matters."""
    return sorted(nft_command("list", "ruleset").split("}\n"))


def loaded(*transactions: list[Message]) -> list[str]:
    for messages in transactions:
        nft.transact(messages)
    return listed()


def nft_says(vips: vip_table.Vips, start: int) -> list[str]:
    nft_command("flush", "ruleset")
    nft_command("-f", "-", text=by_nft(vips, start))
    return listed()


def in_new_namespace(work: Callable[[], None]) -> None:
    def run() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNET)
        work()

    in_thread(run)


def test_a_table_is_what_nft_would_have_made() -> None:
    """With no, one and several backends; turns begin where they are told to."""

    def work() -> None:
        made = loaded(vip_table.load(VIPS, start=4, ports=PORTS, fresh=True))
        assert made == nft_says(VIPS, 4)

    in_new_namespace(work)


def changes() -> Iterator[tuple[vip_table.Vips, vip_table.Vips]]:
    yield VIPS, {}
    yield {}, VIPS
    yield VIPS, {**VIPS, "10.0.1.2": [], "10.0.1.4": ["10.0.0.1", "10.0.0.2"]}
    yield VIPS, {"10.0.1.3": ["10.0.0.3"], "10.0.1.9": ["10.0.0.7"]}


@pytest.mark.parametrize(("old", "new"), list(changes()))
def test_a_change_leads_to_what_a_load_makes(old: vip_table.Vips, new: vip_table.Vips) -> None:
    """VIPs that come, go, get and lose backends; and a load over it all makes the same."""

    def work() -> None:
        first = vip_table.load(old, start=1, ports=PORTS, fresh=True)
        made = loaded(first, vip_table.change(old, new, start=1))
        again = loaded(vip_table.load(new, start=1, ports=PORTS))
        assert made == again == nft_says(new, 1)

    in_new_namespace(work)


def test_thousands_of_vips_and_backends_go_in_one_transaction() -> None:
    """More than an attribute's or a socket's usual length holds."""
    vips = {f"10.1.{n >> 8}.{n & 255}": ["10.0.0.1", "10.0.0.2"] for n in range(1000)}
    vips["10.9.9.9"] = [f"10.2.{n >> 8}.{n & 255}" for n in range(1000)]

    def work() -> None:
        assert loaded(vip_table.load(vips, start=0, ports=PORTS)) == nft_says(vips, 0)

    in_new_namespace(work)


def test_a_change_that_the_kernel_refuses_is_an_error_and_changes_nothing() -> None:
    """Here: VIPs taken out that are not there."""

    def work() -> None:
        before = loaded(vip_table.load(VIPS, start=0, ports=PORTS, fresh=True))
        wrong = vip_table.change({"10.7.7.7": []}, {"10.0.1.5": ["10.0.0.1"]}, start=0)
        with pytest.raises(FailedPrecondition, match="nftables refused a change"):
            nft.transact(wrong)
        assert listed() == before

    in_new_namespace(work)


def test_the_table_of_a_release_before_goes_and_a_hosts_of_that_name_stays() -> None:
    """Both were named swarmlite; a container that is a host has the latter."""
    kinds = ("ip", "ip6")
    host = "".join(
        f"add table {kind} swarmlite\nadd chain {kind} swarmlite leaving\n" for kind in kinds
    )

    def drop() -> list[bool]:
        done = []
        for messages in vip_table.older():
            try:
                nft.transact(messages)
                done.append(True)
            except FailedPrecondition:
                done.append(False)
        return done

    def work() -> None:
        before = TABLE.replace(vip_table.NAME, "swarmlite")
        before += "add table ip6 swarmlite\nadd chain ip6 swarmlite unbalanced\n"
        nft_command("-f", "-", text=before)
        assert drop() == [True, True]
        assert nft_command("list", "ruleset") == ""
        nft_command("-f", "-", text=host)
        assert drop() == [False, False]
        assert nft_command("list", "ruleset").count("chain leaving") == len(kinds)

    in_new_namespace(work)
