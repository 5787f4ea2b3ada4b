"""Autolock on one disk: what lies there is of no use without the unlock key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmlite.errors import FailedPrecondition, InvalidSpec, PermissionDenied
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.lock import NOT_LOCKED, WRONG_KEY, KeyLock, new_key
from swarmlite.identity.node import parse
from swarmlite.kernel import durable
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject, new_request
from swarmlite.paths import Paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")

NODE = {
    "node_id": "n1", "cluster_id": "c", "role": "manager", "advertise_addr": "10.0.0.1:2377",
    "listen_addr": "10.0.0.1:2377", "etcd_endpoints": [],
}  # fmt: skip
ROOT = RootCA.create()
STORE_KEYS = b'{"keys": ["of the store"]}\n'


def pair() -> tuple[bytes, bytes]:
    key, csr = new_request()
    return key, ROOT.issue(csr, Subject("n1", MANAGER, "c"))


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    made = Paths(tmp_path / "state", tmp_path / "run")
    identity = Identity(made)
    folder = identity.scratch()
    key, certificate = pair()
    make_certificates(folder / "certificates", roots=ROOT.cert, key=key, certificate=certificate)
    (folder / "manager").mkdir()
    (folder / "manager" / "store.keys").write_bytes(STORE_KEYS)
    identity.put_in_place(folder, parse(NODE))
    yield made
    KeyLock(made).forget()


def keys_of(paths: Paths) -> tuple[bytes, bytes]:
    return (paths.certificates_dir / "node.key").read_bytes(), paths.store_keys_file.read_bytes()


def on_disk(paths: Paths, text: bytes) -> list[Path]:
    files = [p for p in paths.state_dir.rglob("*") if p.is_file() and not p.is_symlink()]
    return [path for path in files if text in path.read_bytes()]


def rebooted(paths: Paths) -> KeyLock:
    lock = KeyLock(paths)
    lock.forget()
    return lock


def test_sealed_keys_are_read_while_it_is_unlocked_and_not_after_a_reboot(paths: Paths) -> None:
    lock, key, before = KeyLock(paths), new_key(), keys_of(paths)
    assert (lock.engaged, lock.locked, lock.key()) == (False, False, "")
    assert lock.follow(key) and not lock.follow(key)
    assert keys_of(paths) == before and lock.key() == key and not lock.locked
    secret = before[0].splitlines()[1]
    assert (
        on_disk(paths, secret) == on_disk(paths, STORE_KEYS) == on_disk(paths, key.encode()) == []
    )
    assert (paths.unlocked_dir / "node.key").stat().st_mode & 0o777 == 0o600

    lock = rebooted(paths)
    assert lock.locked and not paths.unlocked_dir.exists()
    with pytest.raises(FileNotFoundError):
        keys_of(paths)
    for call in (lock.key, lambda: lock.follow(""), lambda: lock.write("node.key", b"x")):
        with pytest.raises(FailedPrecondition, match="needs to be unlocked"):
            call()
    with pytest.raises(PermissionDenied, match=WRONG_KEY):
        lock.unlock(new_key())
    for text in ("", "SWMKEY-1-short", "SWMTKN-1-x", key[:-1]):
        with pytest.raises(InvalidSpec, match="invalid unlock key"):
            lock.unlock(text)
    assert lock.locked
    lock.unlock(f" {key}\n")
    assert keys_of(paths) == before and not lock.locked
    with pytest.raises(FailedPrecondition, match=NOT_LOCKED):
        lock.unlock(key)

    assert lock.follow("")
    assert keys_of(paths) == before and not lock.engaged and not paths.unlocked_dir.exists()
    assert not paths.store_keys_file.is_symlink()
    assert rebooted(paths).key() == ""


def test_another_key_seals_and_the_old_one_opens_nothing(paths: Paths) -> None:
    lock, old, new, before = KeyLock(paths), new_key(), new_key(), keys_of(paths)
    lock.follow(old)
    lock.follow(new)
    lock = rebooted(paths)
    with pytest.raises(PermissionDenied):
        lock.unlock(old)
    lock.unlock(new)
    assert keys_of(paths) == before


def test_a_renewal_while_it_is_sealed_is_sealed_too(paths: Paths) -> None:
    lock, unlock_key = KeyLock(paths), new_key()
    lock.follow(unlock_key)
    key, certificate = pair()
    identity = Identity(paths)
    identity.replace_certificate(key=key, certificate=certificate)
    lock.write("store.keys", b"more keys")
    assert on_disk(paths, key.splitlines()[1]) == []
    lock = rebooted(paths)
    lock.unlock(unlock_key)
    assert keys_of(paths) == (key, b"more keys")
    assert identity.certificates.certificate == certificate
    # A manager that becomes a worker keeps its own key in clear: workers have nothing to unlock.
    key, certificate = pair()
    identity.replace_certificate(key=key, certificate=certificate, worker=True)
    assert not (paths.certificates_dir / "node.key").is_symlink()
    assert identity.certificates.key == key


class Crash(BaseException):
    """The power goes at one step."""


def crashing(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], recovered: Callable[[], None]
) -> int:
    """Do `work` with the power cut before its first step, then the second, until it is through;
    how many steps it has.
    """
    step = 0
    while True:
        step += 1
        left = [step]

        def cut(name: str, left: list[int] = left) -> None:
            real = getattr(durable, name)

            def call(*arguments: object, **options: object) -> None:
                left[0] -= 1
                if left[0] == 0:
                    raise Crash
                real(*arguments, **options)

            monkeypatch.setattr(durable, name, call)

        for name in ("create", "replace", "remove"):
            cut(name)
        try:
            work()
            return step
        except Crash:
            monkeypatch.undo()
            recovered()
        finally:
            monkeypatch.undo()
        assert step < 100


def test_whatever_step_the_power_goes_at_one_of_the_keys_opens_both(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, first, second, before = KeyLock(paths), new_key(), new_key(), keys_of(paths)

    def settled() -> None:
        if rebooted(paths).locked:
            for key in (first, second):
                try:
                    lock.unlock(key)
                    break
                except PermissionDenied:
                    continue
        assert keys_of(paths) == before

    for wanted in (first, second, ""):
        was = lock.key()

        def back(was: str = was) -> None:
            settled()
            lock.follow(was)

        def change(wanted: str = wanted) -> None:
            lock.follow(wanted)

        assert crashing(monkeypatch, change, back) > 3
        assert lock.key() == wanted and keys_of(paths) == before


def test_whatever_step_a_sealed_renewal_is_cut_at_key_and_certificate_match(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, unlock_key = KeyLock(paths), new_key()
    lock.follow(unlock_key)
    identity = Identity(paths)
    key, certificate = pair()
    old = (identity.certificates.key, identity.certificates.certificate)

    def matches() -> None:
        rebooted(paths).unlock(unlock_key)
        identity.finish()
        found = (identity.certificates.key, identity.certificates.certificate)
        assert found in (old, (key, certificate))
        assert not durable.scratch_of(paths.certificates_dir / "node.crt").exists()

    renew = lambda: identity.replace_certificate(key=key, certificate=certificate)  # noqa: E731
    assert crashing(monkeypatch, renew, matches) > 4
    assert (identity.certificates.key, identity.certificates.certificate) == (key, certificate)


def test_a_damaged_file_says_so(paths: Paths) -> None:
    lock, key = KeyLock(paths), new_key()
    lock.follow(key)
    paths.locked_keys_file.write_bytes(b"damaged")
    with pytest.raises(FailedPrecondition, match=r"locked\.keys has no form"):
        rebooted(paths).unlock(key)
