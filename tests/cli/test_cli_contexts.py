"""Contexts: what is kept of them, which one a command takes, and what is refused."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from swarmlite.client.reach import address
from swarmlite.client.reach.address import Certificates
from swarmlite.client.reach.local import Local
from swarmlite.client.reach.ssh import Ssh, SshHost
from swarmlite.client.reach.tls import Tcp
from swarmlite.client.reach.tunnel import Tunnel
from swarmlite.errors import InvalidSpec
from swarmlite.paths import Paths

HERE = Paths(Path("/s"), Path("/r"))


@pytest.fixture
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are kept; nothing of the environment says which node is meant."""
    for name in [name for name in os.environ if name.startswith("SWARMLITE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SWARMLITE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config" / "contexts"


@pytest.fixture
def here(run: Any, contexts: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line without a node that the environment names."""
    for name in ("SWARMLITE_RUN_DIR", "SWARMLITE_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return run


@pytest.fixture
def pem(tmp_path: Path) -> str:
    """The rest of --docker for three files, whose content nobody reads here."""
    for each in ("ca", "cert", "key"):
        (tmp_path / f"{each}.pem").write_text(f"PEM of {each}")
    return ",".join(f"{each}={tmp_path / each}.pem" for each in ("ca", "cert", "key"))


def test_a_context_is_made_used_shown_and_removed(here: Any) -> None:
    assert here("context", "show").out == "default\n"
    made = here(
        "context", "create", "far", "--docker", "host=ssh://me@far:22", "--description", "x"
    )
    assert (made.status, made.out) == (0, "far\n")
    assert made.err == 'Successfully created context "far"\n'
    assert here("context", "use", "far").err == 'Current context is now "far"\n'
    assert here("context", "show").out == "far\n"
    lines = here("context", "ls").out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["NAME", "DESCRIPTION"],
        ["default", "The"],
        ["far", "*"],
    ]
    assert "in use" in here("context", "rm", "far").err
    assert here("context", "rm", "--force", "far").out == "far\n"
    assert here("context", "show").out == "default\n"
    assert here("context", "ls", "-q").out == "default\n"


def test_flags_come_before_the_environment_and_that_before_use(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        here("context", "create", name, "--docker", f"host=ssh://{name}")
    here("context", "use", "one")
    monkeypatch.setenv("SWARMLITE_CONTEXT", "two")
    assert here("context", "show").out == "two\n"
    assert here("-c", "three", "context", "show").out == "three\n"
    assert "SWARMLITE_CONTEXT overrides" in here("context", "ls").err
    monkeypatch.setenv("SWARMLITE_HOST", "unix:///elsewhere")
    assert here("context", "show").out == "default\n"
    assert here("--context", "three", "context", "show").out == "three\n"
    both = here("-c", "one", "-H", "unix:///x", "context", "show")
    assert both.err == "conflicting options: cannot specify both --host and --context\n"
    monkeypatch.delenv("SWARMLITE_HOST")
    monkeypatch.setenv("SWARMLITE_CONTEXT", "gone")
    assert here("ps").err == 'context "gone" does not exist\n'


def test_a_certificate_is_kept_for_its_owner_only_and_no_key_is_shown(
    here: Any, contexts: Path, pem: str
) -> None:
    assert here("context", "create", "t", "--docker", f"host=tcp://h:1,{pem}").status == 0
    modes = {stat.S_IMODE(each.stat().st_mode) for each in (contexts / "t").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((contexts / "t").stat().st_mode) == 0o700
    shown = here("context", "inspect", "t").out
    assert "PEM of" not in shown
    [found] = json.loads(shown)
    assert found["Endpoints"]["docker"] == {"Host": "tcp://h:1", "SkipTLSVerify": False}
    assert found["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}


def test_an_exported_context_is_the_same_where_it_is_imported(
    here: Any, tmp_path: Path, pem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = tmp_path / "t.tar"
    endpoint = f"host=tcp://h:1,{pem},skip-tls-verify=true"
    here("context", "create", "t", "--docker", endpoint, "--description", "d")
    assert here("context", "export", "t", str(tar)).status == 0
    assert stat.S_IMODE(tar.stat().st_mode) == 0o600
    assert "already exists" in here("context", "export", "t", str(tar)).err
    first = json.loads(here("context", "inspect", "t").out)[0]
    monkeypatch.setenv("SWARMLITE_CONFIG", str(tmp_path / "another"))
    assert here("context", "import", "u", str(tar)).out == "u\n"
    second = json.loads(here("context", "inspect", "u").out)[0]
    for key in ("Metadata", "Endpoints", "TLSMaterial"):
        assert first[key] == second[key]
    folder = tmp_path / "another/contexts/u"
    assert (folder / "key.pem").read_text() == "PEM of key"


def test_an_update_changes_what_it_names_and_nothing_else(here: Any, pem: str) -> None:
    here("context", "create", "t", "--docker", f"host=tcp://h:1,{pem}", "--description", "d")
    assert here("context", "update", "t", "--docker", "host=tcp://h:2").status == 0
    [found] = json.loads(here("context", "inspect", "t").out)
    assert found["Endpoints"]["docker"]["Host"] == "tcp://h:2"
    assert found["Metadata"] == {"Description": "d"}
    assert len(found["TLSMaterial"]["docker"]) == 3
    assert here("context", "create", "u", "--from", "t").status == 0
    assert here("context", "inspect", "u", "-f", "{{.Endpoints.docker.Host}}").out == "tcp://h:2\n"


def _tar(members: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return output.getvalue()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"no tar at all" * 100, "not a tar archive"),
        (_tar({"x": b""}), "the archive is no context's"),
        (_tar({"meta.json": b"[1]"}), "the archive is no context's"),
        (
            _tar({"meta.json": b'{"Endpoints": {"docker": {"Host": "ssh://-oProxyCommand=x"}}}'}),
            "names no host",
        ),
        (
            _tar({"meta.json": b'{"Endpoints": {"docker": {"Host": "tcp://h:1"}}}'}),
            "give ca=, cert= and key=",
        ),
    ],
)
def test_an_archive_that_is_no_context_is_refused(
    here: Any, contexts: Path, tmp_path: Path, data: bytes, line: str
) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    refused = here("context", "import", "x", str(tmp_path / "x.tar"))
    assert refused.status == 1
    assert line in refused.err
    assert not (contexts / "x").exists()


def test_docker_s_own_export_is_understood(here: Any, tmp_path: Path) -> None:
    meta = {
        "Name": "theirs",
        "Metadata": {"Description": "made by docker"},
        "Endpoints": {"docker": {"Host": "tcp://h:2376", "SkipTLSVerify": False}},
    }
    members = {"meta.json": json.dumps(meta).encode()}
    members |= {f"tls/docker/{each}.pem": b"x" for each in ("ca", "cert", "key")}
    (tmp_path / "theirs.dockercontext").write_bytes(_tar(members))
    file = str(tmp_path / "theirs.dockercontext")
    assert here("context", "import", "mine", file).status == 0
    assert here("context", "inspect", "mine", "-f", "{{.Name}}").out == "mine\n"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["create", "default", "--docker", "host=ssh://h"], "is a reserved context name"),
        (["create", "../x", "--docker", "host=ssh://h"], "context name '../x' is invalid"),
        (["create", "x"], "say where the node is"),
        (["create", "x", "--docker", "host=tcp://h:1"], "give ca=, cert= and key="),
        (["create", "x", "--docker", "host=tcp://h:1,cert=/dev/null"], "go together"),
        (["create", "x", "--docker", "host=ssh://h,ca=/dev/null"], "certificates are of tcp://"),
        (["create", "x", "--docker", "host=tcp://h,ca=/none"], "/none: No such file"),
        (["create", "x", "--docker", "hst=ssh://h"], "expected KEY=VALUE with a key of host"),
        (["create", "x", "--docker", "host=a,host=b"], "host is specified twice"),
        (["use", "none"], 'context "none" does not exist'),
        (["rm", "none"], 'context "none" does not exist'),
        (["export", "none", "-"], 'context "none" does not exist'),
        (["inspect", "none"], 'context "none" does not exist'),
    ],
)
def test_what_is_wrong_with_a_context_is_said(here: Any, args: list[str], line: str) -> None:
    refused = here("context", *args)
    assert refused.status in (1, 125)
    assert line in refused.err, refused.err


@pytest.mark.parametrize(
    "text",
    [
        *("", "run/swarmlite", "unix://relative", "http://h", "tcp://", "ssh://", "ssh://-x"),
        *("ssh://-l@h", "tcp://h:99999", "tcp://h:x", "ssh://h/path", "ssh://u:pw@h", "ssh://[::1"),
    ],
)
def test_what_is_no_address_of_a_node_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        address.check(text)


def test_each_address_leads_its_own_way() -> None:
    assert isinstance(address.reach("/run/x", Certificates(), HERE), Local)
    assert isinstance(address.reach("unix:///run/x", Certificates(), HERE), Local)
    assert isinstance(address.reach("unix:///run/docker.sock", Certificates(), HERE), Tunnel)
    assert isinstance(address.reach("ssh://u@[::1]:22", Certificates(), HERE), Ssh)
    tcp = address.reach("tcp://[::1]", Certificates(in_clear=True), HERE)
    assert isinstance(tcp, Tcp)
    assert tcp.describe("agent") == "tcp://[::1]:2376"


def test_ssh_is_told_nothing_that_could_be_a_flag() -> None:
    command = Ssh(SshHost("h", "u", 2222)).command()
    assert command[-5:] == ["--", "h", "swarmlite", "system", "dial-stdio"]
    assert command[command.index("-l") + 1] == "u"
    assert command[command.index("-p") + 1] == "2222"
