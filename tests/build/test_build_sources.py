"""Where a build's files come from: URLs, repositories, named contexts, images; ssh agents."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from build_host import BuildHost, context_of

from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.images_pb2 import RemoveImageRequest
from swarmlite.testing.registry import Registry


@contextlib.contextmanager
def served(builder: BuildHost, folder: Path) -> Iterator[str]:
    """A web server of the builder's host."""
    log = builder.node._root / "web.log"
    log.unlink(missing_ok=True)
    options = ["-b", "127.0.0.1", "0", "-d", str(folder)]
    builder.node._spawn("web", "-u", "-m", "http.server", *options)
    try:
        deadline = time.monotonic() + 20
        while " port " not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{log.read_text().split(' port ')[1].split()[0]}"
    finally:
        builder.node.end("web")
        del builder.node._processes["web"]


async def test_add_fetches_files_and_checks_their_digests(
    builder: BuildHost, tmp_path: Path
) -> None:
    """Mode 600 and the server's time; a digest that is another ends the build."""
    (tmp_path / "file.txt").write_text("fetched\n")
    (tmp_path / "packed.tar").write_bytes(context_of({"inner": "i\n"}))
    digest = "sha256:" + hashlib.sha256(b"fetched\n").hexdigest()
    with served(builder, tmp_path) as url:
        text = (
            f"FROM scratch\nADD --checksum={digest} {url}/file.txt /named\n"
            f"ADD {url}/file.txt {url}/packed.tar /dir/\nADD --unpack {url}/packed.tar /unpacked/\n"
        )
        built = await builder.build(text, tree=True)
        assert built.text("named", 1) == "fetched\n"
        named = built.tree(1)["named"]
        assert named.mode == 0o600
        assert int(named.mtime) == int((tmp_path / "file.txt").stat().st_mtime)
        assert {"dir/file.txt", "dir/packed.tar", "unpacked/inner"} <= set(built.tree(1))
        assert all((await builder.build(text)).cached)
        wrong = await builder.build(text.replace(digest, "sha256:" + "0" * 64))
        assert "digest mismatch" in wrong.refusal
        gone = await builder.build(f"FROM scratch\nADD {url}/none /x\n")
        assert "404" in gone.refusal


async def test_add_takes_a_repository_where_there_is_git(
    builder: BuildHost, tmp_path: Path
) -> None:
    if shutil.which("git") is None:
        built = await builder.build("FROM scratch\nADD https://127.0.0.1:1/x.git /x\n")
        assert "git is not installed" in built.refusal
        return
    work, bare = tmp_path / "work", tmp_path / "served" / "repo.git"
    bare.parent.mkdir()

    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q", "-b", "main", str(work))
    (work / "sub").mkdir()
    (work / "sub" / "file").write_text("of the repository\n")
    git("-C", str(work), "add", ".")
    git("-C", str(work), "commit", "-qm", "x")
    first = git("-C", str(work), "rev-parse", "HEAD")
    git("-C", str(work), "commit", "-qm", "y", "--allow-empty")
    git("clone", "-q", "--bare", str(work), str(bare))
    git("-C", str(bare), "update-server-info")
    with served(builder, bare.parent) as url:
        built = await builder.build(
            f"FROM scratch\nADD {url}/repo.git#main:sub /only/\n", tree=True
        )
        # A commit that no branch ends with, and what --checksum says of it.
        older = f"{url}/repo.git#{first}:sub"
        old = await builder.build(
            f"FROM scratch\nADD --checksum={first[:12]} {older} /\n", tree=True
        )
        wrong = await builder.build(f"FROM scratch\nADD --checksum={'0' * 40} {older} /\n")
        missing = await builder.build(f"FROM scratch\nADD {url}/repo.git#main:none /\n")
    assert built.text("only/file", 1) == "of the repository\n"
    assert old.text("file", 1) == "of the repository\n"
    assert f"expected checksum {'0' * 40}, found {first}" in wrong.refusal
    assert "the repository has no folder 'none'" in missing.refusal


async def test_named_contexts_are_files_or_take_the_place_of_images(builder: BuildHost) -> None:
    """A tar of the client's, and docker-image:// for a base."""

    async def more() -> AsyncIterator[pb.BuildRequest]:
        data = context_of({"there": "named\n"})
        yield pb.BuildRequest(named=pb.NamedContextData(name="extra", data=data, end=True))

    built = await builder.build(
        "FROM base\nCOPY --from=extra there /there\n"
        "RUN --mount=from=extra,target=/m cat /m/there >/mounted\n",
        more=more(),
        named_contexts={"extra": "", "base": "docker-image://busybox"},
        tree=True,
    )
    assert built.text("there", 1) == "named\n" and built.text("mounted", 1) == "named\n"


async def test_bases_are_pulled_and_kept_layers_come_from_cache_images(
    builder: BuildHost, build_registry: Registry
) -> None:
    """--cache-from an image that was built with BUILDKIT_INLINE_CACHE."""
    text = "FROM busybox\nRUN echo 1 >/one\nRUN date +%N >/two\n"
    inline = {"BUILDKIT_INLINE_CACHE": "1"}
    built = await builder.build(text, build_args=inline, tags=["cached:1"])
    await builder.stub.PruneCache(pb.PruneBuildCacheRequest(all=True))
    assert (await builder.build(text, cache_from=["cached:1"])).cached == [True, True]
    await builder.node.engine.images.Remove(RemoveImageRequest(ref="cached:1", force=True))
    gone = await builder.build("FROM scratch\nCOPY f /\n", {"f": ""}, cache_from=["127.0.0.1:1/x"])
    assert gone.result and "127.0.0.1:1/x" in gone.warnings[0]
    assert built.result


async def test_a_clients_ssh_agent_answers_within_run(builder: BuildHost) -> None:
    """Bytes go both ways, on a channel for each connection."""
    replies: asyncio.Queue[pb.BuildRequest | None] = asyncio.Queue()
    running = asyncio.Event()

    def hear(event: pb.BuildEvent) -> None:
        if event.log.data:
            running.set()
        if event.ssh.data:
            answer = pb.SshData(channel=event.ssh.channel, data=b"to " + event.ssh.data)
            replies.put_nowait(pb.BuildRequest(ssh=answer))

    async def more() -> AsyncIterator[pb.BuildRequest]:
        while (request := await replies.get()) is not None:
            yield request

    async def ask() -> bytes:
        """As a process of the container would: by the socket that is bound there."""
        await running.wait()
        root = Path(f"/proc/{builder.node.pid('agent')}/root")
        folder = root / str(builder.node.paths.run_dir / "build").lstrip("/")
        (path,) = folder.iterdir()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a question")
        answer = await reader.readexactly(13)
        writer.close()
        mounts = builder.node.paths.state_dir / "build" / "mounts"
        (found,) = (path for path in mounts.iterdir() if (path / "id").read_text() == "asked")
        (found / "data" / "done").touch()
        return answer

    asking = asyncio.ensure_future(ask())
    built = await builder.build(
        "FROM busybox\nRUN --mount=type=ssh,required --mount=type=cache,id=asked,target=/asked "
        "test -S $SSH_AUTH_SOCK && stat -c %a $SSH_AUTH_SOCK && "
        "until [ -e /asked/done ]; do sleep 0.05; done\n"
        "RUN --mount=type=ssh,id=other test -z $SSH_AUTH_SOCK\n",
        ssh=["default"],
        heard=hear,
        more=more(),
    )
    assert built.result and built.logs == "600\n"
    assert await asking == b"to a question"
    missing = await builder.build("FROM busybox\nRUN --mount=type=ssh,required true\n")
    assert "ssh agent default: not found: offer it with --ssh default" in missing.refusal


async def test_what_is_better_otherwise_is_a_warning(builder: BuildHost) -> None:
    """By Docker's rules; # check= skips some, or makes errors of them."""
    text = "FROM busybox as Base\nMAINTAINER x\nENV a b\nARG password\nCMD x\nCMD y\nWORKDIR w\n"
    built = await builder.build(text, check=True)
    rules = [e.warning.rule for e in built.events if e.HasField("warning")]
    assert sorted(set(rules)) == [
        "FromAsCasing", "JSONArgsRecommended", "LegacyKeyValueFormat", "MaintainerDeprecated",
        "MultipleInstructionsDisallowed", "SecretsUsedInArgOrEnv", "StageNameCasing",
        "WorkdirRelativePath",
    ]  # fmt: skip
    assert built.error is None and not built.steps
    assert not (await builder.build(f"# check=skip=all\n{text}", check=True)).warnings
    refused = await builder.build(f"# check=error=true\n{text}")
    assert "Dockerfile:2: FromAsCasing" in refused.problems[0]
