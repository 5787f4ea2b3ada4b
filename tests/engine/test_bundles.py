"""The files of a run, which lie on a small tmpfs of the engine's."""

from __future__ import annotations

from engine_host import SLEEP, EngineHost


async def test_the_files_of_a_run_are_on_a_tmpfs_that_forbids_programs(host: EngineHost) -> None:
    """They are where the container says, and gone once it has ended."""
    name = await host.run(SLEEP, name="tidy")
    folder = (await host.inspect(name)).hosts_path.removesuffix("/hosts")
    assert folder == str(host.node.paths.bundles_dir / name)
    shown = host.node.run("findmnt", "-no", "FSTYPE,OPTIONS", "-T", folder).stdout
    assert shown.startswith("tmpfs")
    assert {"nosuid", "nodev", "noexec"} <= set(shown.split()[1].split(","))
    assert await host.exec(name, "grep", "-q", name[:12], "/etc/hosts") == 0
    await host.call("Kill", name)
    await host.wait(name)
    assert host.node.run("ls", folder, check=False).returncode
    await host.call("Remove", name, force=True)
    await host.nothing_left()


async def test_a_container_that_fills_the_tmpfs_keeps_no_other_from_starting(
    host: EngineHost,
) -> None:
    """The files of the next one lie in its own folder, and work all the same."""
    greedy = await host.run(SLEEP, name="greedy")
    assert await host.exec(greedy, "sh", "-c", "! cat /dev/zero >>/etc/hosts") == 0
    modest = await host.run(SLEEP, name="modest")
    state = await host.inspect(modest)
    assert state.hosts_path == str(host.node.paths.containers_dir / modest / "hosts")
    assert await host.exec(modest, "grep", "-q", modest[:12], "/etc/hosts") == 0
    await host.restart_engine()
    assert await host.exec(modest, "true") == 0
    for container in (greedy, modest):
        await host.call("Remove", container, force=True)
    await host.nothing_left()
