"""deploy/install.sh for real, with the folders that it writes covered by overlays of this test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from swarmlite import __version__

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "deploy" / "install.sh"

# What is written below /opt, /usr, /etc and /var/lib stays in the test's folder. The /run of
# nobody: there is no systemd in it. Taking a node's networks away is for a namespace without any.
COVERED = """
set -eu
for folder in opt usr etc var/lib; do
    mkdir -p "$1/$folder/upper" "$1/$folder/work"
    cd "$1/$folder"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=upper,workdir=work" "/$folder"
done
mount -t tmpfs none /run
mkdir -p /var/lib/swarmlite/images
echo INSTALL; sh "$2"
echo VERSION; /opt/swarmlite/bin/python3 -c 'import swarmlite; print(swarmlite.__version__)'
/usr/local/bin/swarmlite --help >/dev/null
echo LEAN; /usr/local/bin/swarmlite --version; /usr/local/bin/swarmlite-runtime --version | head -1
echo FREEZE; /opt/swarmlite/bin/python3 -m pip freeze
echo COMPLETE; bash -c '. /usr/share/bash-completion/completions/swarmlite
COMP_WORDS=(swarmlite servi); COMP_CWORD=1; _swarmlite_completion swarmlite; echo "${COMPREPLY[@]}"'
echo AGAIN
if command -v systemctl >/dev/null; then
    # As where systemd runs: its own systemctl, which without one does all but to start.
    mkdir -p /run/systemd/system
    export SYSTEMD_OFFLINE=1
fi
sh "$2"
if command -v systemctl >/dev/null; then
    echo ENABLED; systemctl is-enabled swarmlited.service swarmlite-supervisor.service
    echo VERIFIED; systemd-analyze verify --man=no swarmlited.service \
        swarmlite-supervisor.service 2>&1 | grep swarmlite || echo good
fi
echo GROUP; getent group swarmlite | cut -d: -f1,4
echo SWARM; touch /var/lib/swarmlite/node.json; unshare -n sh "$2" --uninstall || echo refused
rm /var/lib/swarmlite/node.json
echo UNINSTALL; unshare -n sh "$2" --uninstall
echo UNITS; find /etc/systemd/system -name 'swarmlite*'
echo PURGE; unshare -n sh "$2" --purge
echo LEFT; getent group swarmlite || echo none
"""


def parts(text: str) -> dict[str, str]:
    """What was printed under each capital word."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.isupper() and line.isalpha():
            name = line
            found[name] = ""
        else:
            found[name] = found.get(name, "") + line + "\n"
    return found


@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts overlays over the system's folders")
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="the installer is Debian's")
def test_it_installs_what_the_lock_says_and_takes_all_of_it_away(tmp_path: Path) -> None:
    """Twice, for a repetition upgrades; and with state left until it is purged."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", COVERED, "sh", tmp_path, INSTALL],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if "No matching distribution" in done.stdout or "Temporary failure" in done.stdout:
        pytest.skip("no package registry answers")
    assert done.returncode == 0, done.stdout
    said = parts(done.stdout)
    locked = {*(ROOT / "requirements.lock").read_text().split()}
    assert said["VERSION"].strip() == __version__
    versions = [f"{name} version {__version__}" for name in ("swarmlite", "swarmlite-runtime")]
    assert said["LEAN"].splitlines() == versions
    installed = {line for line in said["FREEZE"].split() if "==" in line}
    assert installed <= locked
    assert not any(line.startswith("pytest==") for line in installed)
    assert said["COMPLETE"].split() == ["service"]
    if shutil.which("systemctl") is None:
        assert "is installed" in said["AGAIN"]
    else:
        assert "swarmlite runs" in said["AGAIN"]
        assert said["ENABLED"].split() == ["enabled", "enabled"]
        assert said["VERIFIED"].split() == ["good"]  # the files that they name are there
    assert said["GROUP"].strip() == "swarmlite:"  # and nobody in it
    assert said["LEFT"].strip() == "none"
    assert said["SWARM"].splitlines() == [
        "install.sh: this node is in a swarm: first swarmlite swarm leave"
        " (or --purge: the others will see it as down)",
        "refused",
    ]
    assert "still in /var/lib/swarmlite" in said["UNINSTALL"]
    assert said["UNITS"] == ""
    left = [
        path
        for path in tmp_path.rglob("*swarmlite*")
        if path.exists() and not path.is_char_device() and "work" not in path.parts
    ]
    assert left == []
    assert list(Path("/sys/fs/cgroup").glob("*/swarmlite")) == []


@pytest.mark.parametrize("option", ["--help-me", "--uninstall now"])
def test_it_refuses_what_it_does_not_know(option: str) -> None:
    done = subprocess.run(["sh", INSTALL, *option.split()], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("install.sh: ")
    assert len(done.stderr.splitlines()) == 1
