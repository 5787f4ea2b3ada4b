"""The Debian package in bare trees of Debian 12 and 13: apt installs, upgrades and purges it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlite import __version__
from swarmlite.testing import images
from swarmlite.testing.oci import docker_archive

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.packages,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts trees"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
]

# In namespaces of its own, with what is written on an overlay of the tree.
ENTER = """
set -eu
cd "$1"
mkdir -p up work root
mount -t overlay overlay -o "lowerdir=$2,upperdir=up,workdir=work" root
mkdir -p state
for each in proc sys dev; do mount --rbind /$each root/$each; done
mount -t tmpfs none root/run
mkdir -p root/var/lib/swarmlite && mount --bind state root/var/lib/swarmlite
cat /etc/resolv.conf >root/etc/resolv.conf || true
cp "$3" root/swarmlite.deb
cp image.tar life.sh node.sh root/
exec chroot root sh -eu /life.sh
"""

# A host's life with the package. There is no systemd in the tree: the daemon starts by hand.
LIFE = """
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 LC_ALL=C.UTF-8
mount -t proc proc /proc
apt-get update -q >/dev/null
echo INSTALL; apt-get install -q -y --no-install-recommends /swarmlite.deb >/run/log 2>&1 || {
    cat /run/log; exit 1; }
echo good
echo VERSION; swarmlite --version; swarmlite-runtime --version
echo PAGES; ls /usr/share/man/man1 | grep -c '^swarmlite-service-'
echo ENABLED; ls /etc/systemd/system/multi-user.target.wants | grep swarmlite | sort
unshare -n bash -eu /node.sh
echo REMOVE; apt-get remove -q -y swarmlite >/dev/null 2>&1 && echo good
find /opt /usr /run -name '*swarmlite*' ! -name 'swarmlite.*' 2>/dev/null || true
echo PURGE; apt-get purge -q -y swarmlite >/run/log 2>&1 || cat /run/log; echo good
find / -xdev -name '*swarmlite*' ! -path '/swarmlite.deb' ! -path '/proc/*' ! -path '/var/cache/*' \
    ! -path '/var/log/*' ! -path /var/lib/swarmlite
getent group swarmlite || echo nobody
"""

NODE = """
ip link set lo up
ip address add 10.81.0.1/24 dev lo
start() { swarmlited --cgroup-parent "$PARENT" >>/var/log/swarmlited.log 2>&1 & daemon=$!; }
await() {
    SECONDS=0
    until eval "$1"; do
        [ $SECONDS -lt 300 ] || { echo "never: $1"; tail -n 40 /var/log/swarmlited.log; exit 1; }
        sleep 0.1
    done
}
start
await 'swarmlite info >/dev/null 2>&1'
swarmlite load -q -i /image.tar >/dev/null
swarmlite swarm init --advertise-addr 10.81.0.1 >/dev/null
swarmlite service create -q --detach --name web --network host busybox:latest sleep 1000 >/dev/null
await 'swarmlite service ps web --format "{{.CurrentState}}" | grep -q Running'
pid() { swarmlite inspect --format '{{.State.Pid}}' "$(swarmlite ps -q --no-trunc)"; }
before=$(pid)
echo UPGRADE; dpkg -i /swarmlite.deb >/dev/null 2>&1 && echo good
kill $daemon; wait $daemon || true
kill -0 "$before"
start
await 'swarmlite service ps web --format "{{.CurrentState}}" 2>/dev/null | grep -q Running'
await '[ "$(pid 2>/dev/null)" = '"$before"' ]' && echo "the task ran on"
echo REFUSED
apt-get remove -q -y swarmlite 2>&1 | grep -o 'swarmlited runs.*' | sed 's/pid [0-9]*/pid N/'
swarmlite service rm web >/dev/null
await '[ -z "$(swarmlite ps -q)" ]'
kill $daemon; wait $daemon || true
swarmlited --shutdown-containers --cgroup-parent "$PARENT"
"""


@pytest.fixture(scope="module")
def package() -> Path:
    """What SWARMLITE_DEB names, else built now."""
    if named := os.environ.get("SWARMLITE_DEB"):
        return Path(named)
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    script = ROOT / "deploy/deb/build.sh"
    done = subprocess.run([script, architecture], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "image.tar").write_bytes(docker_archive([images.busybox()]))
    (tmp_path / "life.sh").write_text(LIFE)
    (tmp_path / "node.sh").write_text(NODE)
    yield tmp_path
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def parent() -> Iterator[str]:
    """Of the cgroups of its containers: what prerm removes is the usual one."""
    name = f"/swarmlite-deb{os.getpid()}"
    yield name
    groups = ["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*{name}*"]
    subprocess.run([*groups, "-exec", "rmdir", "{}", "+"], check=True)


def test_a_host_s_life_with_the_package(
    tree: Path, package: Path, folder: Path, parent: str
) -> None:
    """Installed by apt, upgraded under a running task, refused while it runs, purged."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]
    done = subprocess.run(
        [*command, folder, tree, package],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PARENT": parent, "HOME": "/root"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    said = parts(done.stdout)
    assert said["INSTALL"] == ["good"]
    assert said["VERSION"][0].split()[2].rstrip(",") == __version__
    assert int(said["PAGES"][0]) > 5
    assert said["ENABLED"] == ["swarmlite-supervisor.service", "swarmlited.service"]
    assert said["UPGRADE"] == ["good", "the task ran on"]
    assert said["REFUSED"] == [
        "swarmlited runs (pid N): end it, and then swarmlited --shutdown-containers"
    ]
    assert said["REMOVE"] == ["good"]
    assert said["PURGE"] == ["good", "nobody"]


def parts(text: str) -> dict[str, list[str]]:
    """The lines that were printed under each capital word."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.isupper() and line.isalpha():
            lines = found.setdefault(line, [])
        else:
            lines.append(line)
    return found
