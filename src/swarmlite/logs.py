"""How every daemon of a node logs: lines for people, or JSON objects for collectors.

Set once in swarmlited (`--log-format`, `--log-level`) and handed to its children through the
environment. A message is a constant event with its ids as fields ("session began node=%s"), so
that the fields of an object are taken from the arguments themselves; nothing is parsed out of text.
Of the standard library only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from typing import Any, TextIO

FORMATS, LEVELS = ("text", "json"), ("debug", "info", "warning", "error")
FORMAT_VARIABLE, LEVEL_VARIABLE = "SWARMLITE_LOG_FORMAT", "SWARMLITE_LOG_LEVEL"
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_FIELD = re.compile(r"(?<![\w.])([a-z_][a-z0-9_]*)=%[-#0 +]*\d*(?:\.\d+)?[sdrfgix]")
_CONVERSION = re.compile(r"%(?:%|[-#0 +]*\d*(?:\.\d+)?[sdrfgix])")
_IDS = {"task_id": "task", "node_id": "node", "service_id": "service"}

node_id = ""
"""Whose lines these are, as a field of each object; set once it is known."""


def begin(stream: TextIO | None = None) -> None:
    """Log to stderr, or `stream`, as the environment says; once, where a process begins."""
    level = os.environ.get(LEVEL_VARIABLE, "info")
    handler = logging.StreamHandler(stream or sys.stderr)
    as_json = os.environ.get(FORMAT_VARIABLE) == "json"
    handler.setFormatter(Objects() if as_json else logging.Formatter(TEXT))
    known = level if level in LEVELS else "info"
    logging.basicConfig(level=known.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class Objects(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the ids that the message names."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        made: dict[str, Any] = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        made.update(fields(record))
        if node_id:
            made.setdefault("node", node_id)
        if record.exc_info:
            made["error"] = self.formatException(record.exc_info)
        return json.dumps(made, default=str)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the message names: "node=%s" has the field `node`, with its argument as it is."""
    if not isinstance(record.args, tuple) or not isinstance(record.msg, str):
        return {}
    named = {match.start(): match for match in _FIELD.finditer(record.msg)}
    ends = {match.end(): match[1] for match in named.values()}
    found: dict[str, Any] = {}
    arguments = iter(record.args)
    for conversion in _CONVERSION.finditer(record.msg):
        if conversion[0] == "%%":
            continue
        value = next(arguments, None)
        if (name := ends.get(conversion.end())) is not None:
            plain = value if isinstance(value, int | float | bool) else str(value)
            found[_IDS.get(name, name)] = plain
    return found


def _moment(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1_000_000):06d}Z"
