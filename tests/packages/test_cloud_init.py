"""The user data of deploy/cloud-init, read by the cloud-init of both releases."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.packages,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts trees"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
]
FILL = {"@DEB@": "https://files.example.com/s.deb", "@SHA256@": 64 * "0", "@TOKEN@": "SWMTKN-1-a-b",
        "@MANAGER@": "192.0.2.10"}  # fmt: skip

ENTER = """
set -eu
cd "$1"
mkdir -p up work root
mount -t overlay overlay -o "lowerdir=$2,upperdir=up,workdir=work" root
for each in proc sys dev; do mount --rbind /$each root/$each; done
mount -t tmpfs none root/run
cat /etc/resolv.conf >root/etc/resolv.conf || true
cp -r data root/data
exec chroot root sh -eu -c '
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 LC_ALL=C.UTF-8
{ apt-get update -q; apt-get install -q -y --no-install-recommends cloud-init; } >/run/log 2>&1 || {
    cat /run/log; exit 1; }
for file in /data/*; do
    cloud-init schema --config-file "$file" >/run/log 2>&1 && word=taken || word=refused
    echo "SAID $word ${file#/data/}"; sed "s/^/  /" /run/log
done'
"""


def test_cloud_init_takes_the_user_data(tree: Path, tmp_path: Path) -> None:
    """And refuses what is none, or this would prove nothing."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("first-manager.yaml", "join.yaml"):
        text = (ROOT / "deploy/cloud-init" / name).read_text()
        for mark, value in FILL.items():
            text = text.replace(mark, value)
        assert "@" not in text
        (data / name).write_text(text)
    (data / "wrong.yaml").write_text("#cloud-config\nruncmd: 3\n")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]
    done = subprocess.run(
        [*command, tmp_path, tree], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    said = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("SAID ")]
    expected = [["taken", "first-manager.yaml"], ["taken", "join.yaml"], ["refused", "wrong.yaml"]]
    assert said == expected, done.stdout
    shutil.rmtree(tmp_path, ignore_errors=True)
