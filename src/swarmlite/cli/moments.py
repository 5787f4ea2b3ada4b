"""Points in time as flags say them."""

from __future__ import annotations

from swarmlite.cli.lazy import parsed
from swarmlite.model.moments import moment

MOMENT = parsed(moment)
