"""nftables: transactions by libnftables in this process, by the `nft` command where it is missing.

Every call works on the network namespace of the calling thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import queue
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from swarmlite.errors import FailedPrecondition, reason
from swarmlite.kernel import memory
from swarmlite.network import netlink
from swarmlite.network.netlink import Socket

log = logging.getLogger(__name__)
LIBRARY = "libnftables.so.1"
_GET_GENERATION = 10 << 8 | 16
_GENERATION_ID = 1
_ADD_ELEMENT, _DELETE_ELEMENT = 10 << 8 | 12, 10 << 8 | 14
_BRIDGE_FAMILY = 7

QUIET_S = 1.0
PAUSE_S = 0.001
_INPUT_NO_DNS = 1
"""What is not an address is a mistake, never a name to look up."""
_OUTPUT_HANDLE = 1 << 3
"""Rules are listed with the numbers by which they are deleted."""

# The library keeps some of its tables in globals; calls are short, one at a time is enough.
_lock = threading.Lock()


class Later:
    """Work that nobody waits for, in order, on a thread of its own.

    Closing a netfilter socket waits until the kernel has freed what the last transaction deleted:
    some 10 ms, in which the caller would have changed ten sandboxes.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: with more pending `put` waits, so that sockets and memory cannot pile up."""
        self._limit = limit
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, work: Callable[[], None]) -> None:
        """Do it soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nft-later", daemon=True)
            self._thread.start()
        self._queue.put(work)
        while self._queue.qsize() > self._limit:
            time.sleep(PAUSE_S)

    def _run(self) -> None:
        trimmed = True
        while True:
            try:
                work = self._queue.get(timeout=None if trimmed else QUIET_S)
            except queue.Empty:
                # Contexts that waited here together hold tens of megabytes: given back at once.
                memory.trim()
                trimmed = True
                continue
            try:
                work()
            except Exception:  # the thread serves whoever comes next
                log.exception("clean-up failed")
            trimmed = False

    def finish(self) -> None:
        """Until all that was put is done."""
        done = threading.Event()
        self.put(done.set)
        done.wait()


later = Later(64)


@functools.cache
def load() -> ctypes.CDLL | None:
    """libnftables, None where it is not installed."""
    try:
        loaded = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    loaded.nft_ctx_new.restype = ctypes.c_void_p
    loaded.nft_ctx_new.argtypes = [ctypes.c_uint32]
    loaded.nft_ctx_free.argtypes = [ctypes.c_void_p]
    loaded.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    loaded.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
    loaded.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
    loaded.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    loaded.nft_ctx_get_output_buffer.argtypes = [ctypes.c_void_p]
    loaded.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    with contextlib.suppress(AttributeError):  # before 1.0.7
        loaded.nft_ctx_input_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    loaded.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    loaded.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return loaded


_running = threading.Lock()
_left_at: dict[int, int] = {}
"""The generation that this process left the rules of a network namespace (its inode) at, as long as
nobody else changes them; of the namespaces that were once loaded whole."""


class Unasked(FailedPrecondition):
    """The kernel could not be asked, for want of a descriptor say: nothing is known to be wrong
    with the change, and it may have been made.
    """


def run(text: str, *, whole: bool = False) -> None:
    """Apply `text` as one transaction: all of it or nothing.

    `whole`: it sets what the caller looks after, whoever changed it before; see
    `changed_by_others`. Raises FailedPrecondition with what nft said, Unasked.
    """
    try:
        _run(text, whole)
    except OSError as error:
        raise Unasked(f"nftables could not be asked for a change: {reason(error)}") from error


def _run(text: str, whole: bool) -> None:
    namespace = _namespace()
    if not whole and namespace not in _left_at:
        ask(text, what="a change")
        return
    rules = Rules()
    try:
        with _running:
            before = rules.generation()
            ask(text, what="a change")
            after = rules.generation()
            _left_at[namespace] = left_at(before if whole else _left_at[namespace], after)
    finally:
        rules.close()


def changed_by_others() -> bool:
    """Whether another process changed the namespace's rules since they were loaded whole.

    Changes by `run` hide none of them. Raises OSError.
    """
    with _running:
        return generation() != _left_at.get(_namespace())


def left_at(known: int, now: int, transactions: int = 1) -> int:
    """Of two generations, the one that rules were left at by us: `now`, after so many transactions.

    Each raises it by one: with more, somebody else's came between, and `known` stays.
    """
    return now if now - known <= transactions else known


def _namespace() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116


def ask(text: str, *, what: str = "a question", handles: bool = False) -> str:
    """As `run`, for what has an answer: a list command's, perhaps with the rules' handles.

    Raises FailedPrecondition.
    """
    loaded = load()
    if loaded is None:
        failure, said = _by_command(text, handles)
    else:
        failure, said = _by_library(loaded, text, handles)
    if failure is not None:
        raise FailedPrecondition(f"nftables refused {what}: {failure.strip() or 'no reason given'}")
    return said


def _by_library(loaded: ctypes.CDLL, text: str, handles: bool) -> tuple[str | None, str]:
    """What went wrong, if anything did, and what was said."""
    with _lock:
        context = loaded.nft_ctx_new(0)
        if not context:
            return "no context", ""
        try:
            loaded.nft_ctx_buffer_error(context)
            loaded.nft_ctx_buffer_output(context)
            if hasattr(loaded, "nft_ctx_input_set_flags"):
                loaded.nft_ctx_input_set_flags(context, _INPUT_NO_DNS)
            if handles:
                loaded.nft_ctx_output_set_flags(context, _OUTPUT_HANDLE)
            if loaded.nft_run_cmd_from_buffer(context, text.encode()) == 0:
                answer: bytes = loaded.nft_ctx_get_output_buffer(context) or b""
                return None, answer.decode(errors="replace")
            said: bytes = loaded.nft_ctx_get_error_buffer(context)
            return " ".join(said.decode(errors="replace").split()), ""
        finally:
            later.put(functools.partial(loaded.nft_ctx_free, context))


def _by_command(text: str, handles: bool) -> tuple[str | None, str]:
    program = shutil.which("nft") or "/usr/sbin/nft"
    # posix_spawn, not fork: this process has threads and gRPC.
    command = [program, *(["-a"] if handles else []), "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    return (" ".join(done.stderr.split()) if done.returncode else None), done.stdout


def transact(messages: Sequence[netlink.Message]) -> int:
    """Have the kernel do all messages or none; the generation of the rules after it.

    Raises FailedPrecondition.
    """
    rules = Rules()
    try:
        return rules.transact(messages)
    finally:
        rules.close()


def generation() -> int:
    """A number that every change of the namespace's rules, whoever makes it, raises."""
    rules = Rules()
    try:
        return rules.generation()
    finally:
        rules.close()


class Rules:
    """The rules of the namespace in which this was made, from any thread; one at a time.

    What failed cannot be used further: answers may be left in it.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self._channel = Socket(netlink.NETLINK_NETFILTER, receive_bytes=0)

    def transact(self, messages: Sequence[netlink.Message]) -> int:
        """As the function of this name."""
        try:
            self._channel.transaction(messages)
            return generation_of(self._channel)
        except OSError as error:
            raise FailedPrecondition(f"nftables refused a change: {error.strerror}") from error

    def generation(self) -> int:
        """As the function of this name. Raises OSError."""
        return generation_of(self._channel)

    def close(self) -> None:
        """Without a wait for it: see Later. Safe to repeat."""
        later.put(self._channel.close)


def generation_of(channel: Socket) -> int:
    """As `generation`, of the namespace that a netfilter socket was made in."""
    values = channel.ask(_GET_GENERATION, struct.pack(">BBH", 0, 0, 0), 4)
    return int.from_bytes(values.get(_GENERATION_ID, b""), "big")


def bridge_element(
    channel: Socket, table: str, name: str, mac: bytes, address: str, *, delete: bool = False
) -> None:
    """Add a pair of MAC and address to a set of a bridge table, or take it out. Raises OSError.

    Hand-packed, for this is done at each container's start and end: 0.03 ms, where the library,
    which reads the whole rule set first, takes 0.5.
    """
    key = mac + bytes(2) + netlink.address_bytes(address)  # fields of a key fill four bytes each
    body = struct.pack(">BBH", _BRIDGE_FAMILY, 0, 0)
    body += netlink.text(1, table) + netlink.text(2, name)
    element = netlink.nested(1, netlink.nested(1, netlink.attribute(1, key)))
    body += netlink.nested(3, element)
    message = (_DELETE_ELEMENT, 0, body) if delete else (_ADD_ELEMENT, netlink.CREATE, body)
    channel.transaction([message])
