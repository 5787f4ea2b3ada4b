#!/bin/sh
# testcontainers 4.15.0: the host that ports are reached at (TC_HOST) is read once, when the library is imported.
#
# DOCKER_HOST and other settings are read when a client is made, and so follow the environment; the override of the host
# is an attribute of the class of settings and keeps the value of the import. A process that speaks to a second engine
# is led to the first one's address by get_container_host_ip(), without a word.
#
# Seen:
#   set after the import: 192.0.2.1
#   set before the import: 192.0.2.2
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check testcontainers==4.15.0 2>/dev/null
cat >"$work/ask.py" <<'PYTHON'
import os
import sys

from testcontainers.core.config import testcontainers_config

os.environ["TC_HOST"] = sys.argv[1]
print(testcontainers_config.tc_host_override)
PYTHON
{
    echo "set after the import: $(TC_HOST=192.0.2.1 "$work/venv/bin/python" "$work/ask.py" 192.0.2.2)"
    echo "set before the import: $(TC_HOST=192.0.2.2 "$work/venv/bin/python" "$work/ask.py" 192.0.2.2)"
} >"$work/output"
cat "$work/output"
diff - "$work/output" <<'SEEN'
set after the import: 192.0.2.1
set before the import: 192.0.2.2
SEEN
