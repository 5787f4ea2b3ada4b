"""Contexts and Dockerfiles that would reach the host: each is contained."""

from __future__ import annotations

import tarfile
from pathlib import Path

from build_host import BuildHost

SECRET = "a secret of the host\n"


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def device(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
    return info


async def test_links_of_a_context_lead_to_nothing_of_the_host(
    builder: BuildHost, tmp_path: Path
) -> None:
    """A link, a chain of links and `..` end at the context's own root."""
    (tmp_path / "secret").write_text(SECRET)
    files = {
        "abs": link("abs", f"{tmp_path}/secret"),
        "dir": link("dir", str(tmp_path)),
        "up": link("up", "../" * 40 + str(tmp_path)),
    }
    for source in ("abs", "dir/secret", "up/secret", f"../../..{tmp_path}/secret"):
        built = await builder.build(f"FROM scratch\nCOPY {source} /x\n", files)
        assert "not found" in built.refusal, source
    kept = await builder.build("FROM scratch\nCOPY . /all/\n", files, tree=True)
    assert kept.tree(1)["all/abs"].linkname == f"{tmp_path}/secret"  # a link, and no file
    assert SECRET.encode() not in kept.output(1)
    mounted = await builder.build(
        "FROM busybox\nRUN --mount=source=dir,target=/m cat /m/secret\n", files
    )
    assert mounted.error is not None and SECRET not in mounted.logs
    led = await builder.build(files={"Dockerfile": link("Dockerfile", f"{tmp_path}/secret")})
    assert "no such file" in led.refusal


async def test_an_archive_that_leaves_its_place_is_refused(
    builder: BuildHost, tmp_path: Path
) -> None:
    """`..`, absolute names through links, hard links to what is not in it."""
    for name, member in {
        "../../escaped": link("../../escaped", "x"),
        "hard": link("hard", "/etc/passwd", tarfile.LNKTYPE),
    }.items():
        built = await builder.build("FROM scratch\nCOPY . /\n", {name: member})
        assert built.error is not None and "is refused" in built.refusal, name
    through = {"out": link("out", str(tmp_path)), "out/file": "written\n"}
    built = await builder.build("FROM scratch\nCOPY . /\n", through)
    assert not list(tmp_path.iterdir())


async def test_links_of_the_image_lead_a_copy_to_nothing_of_the_host(
    builder: BuildHost, tmp_path: Path
) -> None:
    """What is copied through them stays below the image's root."""
    built = await builder.build(
        f"FROM busybox\nRUN ln -s {tmp_path} /out && ln -s /../../..{tmp_path}/new /file && "
        f"ln -s {tmp_path}/dir /later\n"
        "COPY a /out/a\nCOPY a /file\nCOPY a /later/\nWORKDIR /out/work\n",
        {"a": "1\n"},
        tree=True,
    )
    assert not list(tmp_path.iterdir())
    tree = built.tree(1)
    inside = str(tmp_path).lstrip("/")
    for name in ("a", "new", "dir/a", "work"):
        assert f"{inside}/{name}" in tree, name


async def test_devices_of_a_context_are_not_copied_and_never_opened(builder: BuildHost) -> None:
    built = await builder.build("FROM scratch\nCOPY . /\n", {"null": device("null")})
    assert "null: a device of a build context is not copied" in built.refusal


async def test_a_command_is_confined(builder: BuildHost) -> None:
    """No capability beyond the defaults, no device, no process of the host."""
    text = (
        "FROM busybox\nRUN ! mount -t tmpfs x /tmp && ! mknod /sda b 8 0 2>/dev/null || "
        "! cat /sda; test $(ls -d /proc/[0-9]* | wc -l) -lt 10\n"
        "RUN grep -q 'CapEff:.*a80425fb' /proc/self/status && grep -q 'Seccomp:.*2' "
        "/proc/self/status\n"
    )
    assert (await builder.build(text)).result
