"""Virtual machines on one bridge, which is a network namespace's: its end is the end of all."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from swarmlite.testing.namespaces import Machine as Namespaces
from swarmlite.testing.namespaces import ip_batch

NETWORK = "10.88.0"
ACCELERATOR = os.environ.get("SWARMLITE_VM_ACCELERATOR", "tcg")
"""Emulation works wherever this runs; a /dev/kvm that is there may still start nothing."""

PROCESSOR = "Nehalem" if ACCELERATOR == "tcg" else "max"
"""What newer processors add is emulated more slowly than what it replaces."""

BOOT_TIMEOUT_S = 900.0
"""An emulated processor takes minutes for what a real one does in seconds."""


class Wire:
    """The bridge, with a port of this host's at .1. `close` ends every machine on it."""

    def __init__(self) -> None:
        self.space = Namespaces("wire")
        ip_batch(
            self.space.pid,
            [
                "link set lo up",
                "link add br0 type bridge",
                f"address add {NETWORK}.1/24 dev br0",
                "link set br0 up",
            ],
        )

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in its network."""
        return ["nsenter", "-t", str(self.space.pid), "-n", "--", *command]

    def close(self) -> None:
        self.space.kill()


class VirtualMachine:
    """One machine, booting from the moment it is made, its disk a copy on write."""

    def __init__(self, wire: Wire, image: Path, folder: Path, number: int, memory_mb: int) -> None:
        self.name = f"vm{number}"
        self.address = f"{NETWORK}.{10 + number}"
        self.console = folder / f"{self.name}.console"
        self._wire, self._image = wire, image
        port = f"tap{number}"
        ip_batch(
            wire.space.pid,
            [f"tuntap add {port} mode tap", f"link set {port} master br0 up"],
        )
        disk = folder / f"{self.name}.qcow2"
        backing = ["-F", "raw", "-b", str(image / "disk.raw")]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, disk], check=True)
        network = f"tap,id=port,ifname={port},script=no,downscript=no"
        words = (
            f"root=/dev/vda rw console=ttyS0 mitigations=off swarmlite.name={self.name} "
            f"swarmlite.address={self.address}/24"
        )
        command = [
            "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
            "-machine", "q35", "-accel", ACCELERATOR, "-cpu", PROCESSOR,
            "-m", str(memory_mb), "-display", "none", "-no-reboot",
            "-serial", f"file:{self.console}",
            "-kernel", image / "vmlinuz", "-initrd", image / "initrd.img", "-append", words,
            "-drive", f"file={disk},if=virtio,cache=unsafe",
            "-netdev", network,
            "-device", f"virtio-net-pci,netdev=port,mac=52:54:00:88:00:{number:02x}",
            "-device", "virtio-rng-pci",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            wire.enter([str(word) for word in command]),
            stdin=subprocess.DEVNULL,
            stdout=(folder / f"{self.name}.qemu").open("w"),
            stderr=subprocess.STDOUT,
        )

    def ssh(self, command: str) -> list[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        options += ["ConnectTimeout=20", "ServerAliveInterval=30"]
        flags = [word for option in options for word in ("-o", option)]
        key = str(self._image / "key")
        return self._wire.enter(["ssh", *flags, "-i", key, f"root@{self.address}", command])

    def run(self, command: str, data: bytes | None = None) -> str:
        """What a command of the shell prints there; AssertionError with all of it if it fails."""
        done = subprocess.run(self.ssh(command), input=data, capture_output=True)
        said = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{self.name}: {command}: {said}{done.stderr.decode()}"
        return said

    def attempt(self, command: str) -> tuple[int, str]:
        """The exit code of a command there, and all that it printed."""
        done = subprocess.run(
            self.ssh(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def copy(self, file: Path, to: str) -> None:
        self.run(f"cat >{to}", file.read_bytes())

    def wait_booted(self) -> None:
        def up() -> bool:
            assert self._process.poll() is None, f"{self.name} ended: see {self.console}"
            return self.attempt("systemctl is-system-running --wait")[1].strip() in (
                "running",
                "degraded",
            )

        wait(up, BOOT_TIMEOUT_S, f"{self.name} to boot ({self.console})")

    def cut_power(self) -> None:
        self._process.kill()
        self._process.wait()


def wait(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Ask until it is true. Raises AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(1.0)


def missing() -> str:
    """What this host lacks for machines; empty when nothing is."""
    if os.geteuid() != 0:
        return "makes bridges: needs root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    for command in ("qemu-system-x86_64", "qemu-img", "debootstrap", "ssh"):
        if not any((Path(p) / command).exists() for p in ("/usr/bin", "/usr/sbin", "/bin")):
            return f"{command} is not installed"
    return ""
