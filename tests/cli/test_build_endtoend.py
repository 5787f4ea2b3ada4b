"""`swarmlite build` on a real host: contexts, outputs, what it prints and where it fails."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def context(tmp_path: Path, host: Any) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    (made / "Dockerfile").write_text(
        f"FROM {host.image} AS base\nARG WORD=none\nCOPY file /\n"
        "RUN --mount=type=secret,id=s cat /run/secrets/s && echo $WORD > /word\nFROM scratch\n"
        "COPY --from=base /word /file /\nLABEL a=b\n"
    )
    (made / "file").write_text("content")
    return made


def test_a_folder_is_built_named_and_described(host: Any, context: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    result = host.cli(
        *("build", "-t", "e2e:1", "--build-arg", "WORD=hello", "--secret", f"id=s,src={secret}"),
        *("--iidfile", str(tmp_path / "id"), "--metadata-file", str(tmp_path / "meta")),
        *("--label", "c=d", "--progress", "plain", str(context)),
    )
    assert result.status == 0 and result.out == "", result.err
    assert "] RUN --mount=type=secret,id=s" in result.err and "Tagged e2e:1" in result.err
    identity = (tmp_path / "id").read_text()
    metadata = json.loads((tmp_path / "meta").read_text())
    assert metadata["containerimage.config.digest"] == identity
    assert metadata["image.name"] == "e2e:1"
    (shown,) = json.loads(host.ok("image", "inspect", "e2e:1"))
    assert shown["Id"] == identity and shown["Config"]["Labels"] == {"a": "b", "c": "d"}
    again = host.ok("build", "-q", "--build-arg", "WORD=hello", "--label", "c=d", str(context))
    assert again.strip() == identity  # all of it from the cache, the secret too


def test_outputs_are_folders_and_archives(host: Any, context: Path, tmp_path: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /sub/\n")
    host.ok("build", "-o", str(tmp_path / "out"), str(context))
    assert (tmp_path / "out" / "sub" / "file").read_text() == "content"
    host.ok("build", "-o", f"type=oci,dest={tmp_path}/oci.tar", "-t", "o:1", str(context))
    with tarfile.open(tmp_path / "oci.tar") as tar:
        assert {"index.json", "oci-layout"} <= {name.removeprefix("./") for name in tar.getnames()}
    host.ok("build", "-o", f"type=tar,dest={tmp_path}/tree.tar", str(context))
    with tarfile.open(tmp_path / "tree.tar") as tar:
        assert "sub/file" in {name.removeprefix("./") for name in tar.getnames()}


def test_standard_input_is_a_tar_or_a_dockerfile(host: Any, context: Path) -> None:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as tar:
        info = tarfile.TarInfo("Other")
        text = b"FROM scratch\nLABEL from=tar\n"
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    identity = host.ok("build", "-q", "-f", "Other", "-", stdin=found.getvalue()).strip()
    assert host.ok("inspect", "-f", "{{.Config.Labels.from}}", identity) == "tar\n"
    host.ok("build", "-q", "-f", "-", str(context), stdin=b"FROM scratch\nCOPY file /x\n")
    host.ok("build", "-q", "-", stdin=b"FROM scratch\nLABEL from=stdin\n")


def test_what_fails_names_file_line_and_reason(host: Any, context: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {host.image}\n\nRUN echo before; exit 3\n")
    result = host.cli("build", str(context))
    assert result.status == 1 and "before" in result.err
    assert result.err.splitlines()[-1] == (
        'Dockerfile:3: process "/bin/sh -c echo before; exit 3" did not complete successfully:'
        " exit code: 3"
    )
    (context / "Dockerfile").write_text("FRM x\nFROM scratch\nCOPPY a b\n")
    result = host.cli("build", "--check", str(context))
    assert result.status == 1
    assert result.err.splitlines() == [
        "Dockerfile:1: unknown instruction FRM, did you mean FROM?",
        "Dockerfile:3: unknown instruction COPPY, did you mean COPY?",
    ]
    (context / "Dockerfile").write_text("FROM scratch\nCMD echo x\n")
    result = host.cli("build", "--check", str(context))
    assert result.status == 1
    assert result.err.splitlines()[-1] == "Check complete, 1 warning has been found!"
    (context / "Dockerfile").write_text('FROM scratch\nCMD ["echo"]\n')
    result = host.cli("build", "--check", str(context))
    assert (result.status, result.err) == (0, "Check complete, no warnings found.\n")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY missing /\n")
    result = host.cli("build", str(context))
    assert result.err.splitlines()[-1].startswith("Dockerfile:2: ") and "missing" in result.err


def test_an_interrupted_build_leaves_nothing(host: Any, context: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {host.image}\nRUN echo begun; sleep 87654\n")
    command = host.open(
        "build", "--progress=plain", str(context), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert command.stderr is not None
    while b" begun\n" not in command.stderr.readline():
        assert command.poll() is None
    command.send_signal(signal.SIGINT)
    command.stderr.read()
    command.stderr.close()
    assert command.wait(60) == 130
    deadline = time.monotonic() + 60
    while any(b"87654" in _command_line(pid) for pid in _pids()):
        assert time.monotonic() < deadline, host.log()
        time.sleep(0.05)


def _pids() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_terminal_shows_a_region_and_one_last_line(host: Any, context: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {host.image}\nRUN seq 100; sleep 1\n")
    with host.terminal("build", "--no-cache", str(context), rows=8, columns=60) as terminal:
        terminal.until(b"[+] Building")
        terminal.until(b"FINISHED")
        assert terminal.ends() == 0


def test_the_cache_is_listed_and_pruned(host: Any, context: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {host.image}\nRUN echo cached > /cached\n")
    host.ok("build", "-o", "type=cacheonly", str(context))
    assert "echo cached" in host.ok("builder", "du")
    assert "Total reclaimed space:" in host.ok("buildx", "prune", "-af")
    assert "echo cached" not in host.ok("builder", "du")


def test_a_context_is_an_image_of_an_oci_layout(host: Any, context: Path, tmp_path: Path) -> None:
    """By tag or digest: FROM, COPY --from and a mount; its names in the layout are none here."""
    layout = tmp_path / "layout"
    entries = []
    for word in ("one", "two"):
        (context / "Dockerfile").write_text(f"FROM {host.image}\nRUN echo {word} > /word\n")
        archive = tmp_path / f"{word}.tar"
        host.ok("build", "-t", f"laid:{word}", "-o", f"type=oci,dest={archive}", str(context))
        with tarfile.open(archive) as tar:
            tar.extractall(layout, filter="data")
        entries += json.loads((layout / "index.json").read_text())["manifests"]
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (context / "Dockerfile").write_text(
        "FROM base\nCOPY --from=other /word /other\n"
        "RUN --mount=from=other,target=/m cat /m/word /word > /both\n"
    )
    build = ("build", "--build-context", f"base=oci-layout://{layout}:one", "--build-context")
    by_digest = f"other=oci-layout://{layout}@{entries[1]['digest']}"
    host.ok(*build, by_digest, "-o", str(tmp_path / "out"), str(context))
    assert (tmp_path / "out" / "other").read_text() == "two\n"
    assert (tmp_path / "out" / "both").read_text() == "two\none\n"
    assert "laid" not in host.ok("images", "-a")
    for value, said in (
        (f"{layout}", "several images: name one (there is one, two)"),
        (f"{layout}:three", "no image three (there is one, two)"),
        (f"{tmp_path}/none", "expected an OCI layout"),
    ):
        refused = host.cli(*build, f"other=oci-layout://{value}", str(context))
        assert refused.status == 1 and said in refused.err and refused.err.count("\n") == 1


def test_services_of_a_file_build_on_each_other_and_keep_their_cache(
    host: Any, tmp_path: Path
) -> None:
    """`additional_contexts: service:NAME` goes first, wherever it stands; `cache_to` a folder."""
    compose = f"""
services:
  app:
    build:
      context: .
      dockerfile_inline: |
        FROM base
        RUN cat /word > /app
      additional_contexts: {{base: "service:base"}}
  base:
    build:
      context: .
      dockerfile_inline: |
        FROM {host.image}
        RUN echo of-base > /word
      cache_to: ["type=local,dest=kept"]
      cache_from: ["type=local,src=kept"]
"""
    (tmp_path / "compose.yml").write_text(compose)
    file = ("-c", str(tmp_path / "compose.yml"))
    said = host.cli("stack", "build", "-q", *file, "mine")
    assert said.status == 0 and "cache_from kept: no cache lies there" in said.err, said.err
    assert said.err.index("for service base") < said.err.index("for service app")
    assert (tmp_path / "kept" / "index.json").exists()
    again = host.cli("stack", "build", "-q", *file, "mine", "base")
    assert again.status == 0 and "no cache" not in again.err, again.err
    refused = host.cli("stack", "build", "-q", *file, "mine", "app")
    assert "its context is of service base, which is not built here" in refused.err
    back = 'additional_contexts: {a: "service:app"}\n      cache_to: ['
    circle = compose.replace("cache_to: [", back)
    (tmp_path / "compose.yml").write_text(circle)
    assert "in a circle: " in host.cli("stack", "build", *file, "mine").err
    host.ok("rmi", "mine-app", "mine-base")
