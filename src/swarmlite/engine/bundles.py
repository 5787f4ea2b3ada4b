"""What was written for the runtime, read again: a running container's OCI spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_spec(bundle: Path) -> dict[str, Any]:
    """The OCI spec of a bundle; empty when it is gone."""
    try:
        spec = json.loads((bundle / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return spec if isinstance(spec, dict) else {}
