"""Log drivers and their options: the one place that knows them. Docker's names and defaults.

Departures from Docker: json-file without options keeps 3 files of 10 MiB where Docker has no limit,
so that no container fills the disk; sizes are powers of 1024.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from swarmlite.errors import InvalidSpec
from swarmlite.model import units
from swarmlite.model.numerals import decimal

MIB = 1 << 20
_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp",
)  # fmt: skip
FACILITIES = {name: number for number, name in enumerate(_FACILITIES)} | {
    f"local{number}": 16 + number for number in range(8)
}
SYSLOG_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
SYSLOG_PORT = 514

_MODE = ("mode", "max-buffer-size")
_ATTRIBUTES = ("labels", "labels-regex", "env", "env-regex", "tag")
_CACHE = ("cache-disabled", "cache-max-size", "cache-max-file", "cache-compress")
_TLS = ("syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "json-file": ("max-size", "max-file", "compress", *_ATTRIBUTES, *_MODE),
    "local": ("max-size", "max-file", "compress", *_MODE),
    "journald": (*_ATTRIBUTES, *_MODE, *_CACHE),
    "syslog": (
        "syslog-address", "syslog-facility", "syslog-format", *_TLS, *_ATTRIBUTES, *_MODE, *_CACHE,
    ),
}  # fmt: skip
"""What each driver takes; `none` takes anything, and heeds nothing."""

TAG_FIELDS = (
    "ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName", "Command",
)  # fmt: skip
_TAG_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_MAX_TAG = 1024


@dataclass(frozen=True)
class File:
    """The file that a container's lines are kept in, to be read again."""

    max_bytes: int = 10 * MIB
    max_files: int = 3
    compress: bool = False


@dataclass(frozen=True)
class Syslog:
    """Where the lines go: `kind` is unix, unixgram, udp, tcp, or empty for the host's own."""

    kind: str = ""
    path: str = ""
    host: str = ""
    port: int = SYSLOG_PORT
    facility: int = FACILITIES["daemon"]
    format: str = ""


@dataclass(frozen=True)
class LogConfig:
    """A driver with its options read; `file` is None where nothing is kept."""

    name: str
    file: File | None = None
    syslog: Syslog | None = None
    labels: tuple[str, ...] = ()
    labels_regex: str = ""
    env: tuple[str, ...] = ()
    env_regex: str = ""
    tag: str = ""
    max_buffer_bytes: int = MIB
    blocking: bool = True


def parse(name: str, options: Mapping[str, str]) -> LogConfig:
    """A driver ("" is json-file) and its options. Raises InvalidSpec with one line."""
    name = name or "json-file"
    if name == "none":
        return LogConfig(name)
    known = OPTIONS.get(name)
    if known is None:
        expected = ", ".join((*OPTIONS, "none"))
        raise InvalidSpec(f"--log-driver {name[:60]}: unknown log driver: expected {expected}")
    for key in options:
        if key not in known:
            raise InvalidSpec(
                f"--log-opt {key[:60]}: unknown option of log driver {name}: expected one of "
                f"{', '.join(known)}"
            )
    config = LogConfig(
        name,
        file=_kept(name, options),
        syslog=_syslog(options) if name == "syslog" else None,
        labels=_list(options, "labels"),
        env=_list(options, "env"),
        labels_regex=_regex(options, "labels-regex"),
        env_regex=_regex(options, "env-regex"),
        tag=_tag(options.get("tag", "")),
    )
    return _with_mode(config, options)


def _kept(name: str, options: Mapping[str, str]) -> File | None:
    if name in ("journald", "syslog"):
        if _flag(options, "cache-disabled", False):
            return None
        return _file(options, File(20 * MIB, 5, True), "cache-")
    if name == "local":
        return _file(options, File(20 * MIB, 5, True))
    default = File()
    if "max-size" in options:  # who sets a limit means the whole: Docker keeps one file then
        default = replace(default, max_files=1)
    return _file(options, default)


def _file(options: Mapping[str, str], default: File, prefix: str = "") -> File:
    size, count = f"{prefix}max-size", f"{prefix}max-file"
    file = default
    if size in options:
        try:
            file = replace(file, max_bytes=units.parse_bytes(options[size]))
        except InvalidSpec as error:
            raise InvalidSpec(f"--log-opt {size}: {error}") from error
        if file.max_bytes < 1:
            raise InvalidSpec(f"--log-opt {size}: must be positive")
    if count in options:
        text = options[count]
        if (files := decimal(text, 1, 1000)) is None:
            raise InvalidSpec(f"--log-opt {count}: {text[:20]!r} is not a number from 1 to 1000")
        file = replace(file, max_files=files)
    key = f"{prefix}compress"
    compress = _flag(options, key, file.compress)
    if compress and file.max_files < 2:
        if key in options:
            raise InvalidSpec(f"--log-opt {key}: needs {count} of at least 2")
        compress = False
    return replace(file, compress=compress)


def _flag(options: Mapping[str, str], key: str, default: bool) -> bool:
    """As Go's strconv.ParseBool."""
    text = options.get(key)
    if text is None:
        return default
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise InvalidSpec(f"--log-opt {key}: {text[:20]!r} is neither true nor false")


def _list(options: Mapping[str, str], key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in options.get(key, "").split(",") if part.strip())


def _regex(options: Mapping[str, str], key: str) -> str:
    text = options.get(key, "")
    try:
        re.compile(text)
    except (re.error, RecursionError) as error:
        raise InvalidSpec(
            f"--log-opt {key}: {text[:60]!r} is not a regular expression: {error}"
        ) from error
    return text


def _with_mode(config: LogConfig, options: Mapping[str, str]) -> LogConfig:
    mode = options.get("mode", "blocking")
    if mode not in ("blocking", "non-blocking"):
        raise InvalidSpec(f"--log-opt mode: {mode[:20]!r}: expected blocking or non-blocking")
    size = options.get("max-buffer-size")
    if size is None:
        return replace(config, blocking=mode == "blocking")
    if mode == "blocking":
        raise InvalidSpec("--log-opt max-buffer-size: only valid with mode=non-blocking")
    try:
        buffer = units.parse_bytes(size)
    except InvalidSpec as error:
        raise InvalidSpec(f"--log-opt max-buffer-size: {error}") from error
    if not 0 < buffer <= 64 * MIB:
        raise InvalidSpec("--log-opt max-buffer-size: must be above 0 and at most 64m")
    return replace(config, blocking=False, max_buffer_bytes=buffer)


def _syslog(options: Mapping[str, str]) -> Syslog:
    if any(key in options for key in _TLS):
        raise InvalidSpec("--log-opt syslog-tls-...: syslog over TLS is not supported")
    facility = options.get("syslog-facility", "daemon")
    number = FACILITIES.get(facility, decimal(facility, 0, 23))
    if number is None:
        raise InvalidSpec(
            f"--log-opt syslog-facility: {facility[:20]!r}: expected a number from 0 to 23 or one "
            f"of {', '.join(FACILITIES)}"
        )
    form = options.get("syslog-format", "")
    if form not in SYSLOG_FORMATS:
        raise InvalidSpec(
            f"--log-opt syslog-format: {form[:20]!r}: expected rfc3164, rfc5424 or rfc5424micro"
        )
    target = _address(options.get("syslog-address", ""))
    return replace(target, facility=number, format=form)


def _address(text: str) -> Syslog:
    where = f"--log-opt syslog-address: {text[:80]!r}"
    if not text:
        return Syslog()
    kind, separator, rest = text.partition("://")
    if kind == "tcp+tls":
        raise InvalidSpec(f"{where}: syslog over TLS is not supported")
    if not separator or kind not in ("unix", "unixgram", "udp", "tcp"):
        raise InvalidSpec(f"{where}: expected udp://HOST:PORT, tcp://HOST:PORT or unix://PATH")
    if kind in ("unix", "unixgram"):
        if not rest.startswith("/") or len(rest.encode()) > 107 or "\0" in rest:
            raise InvalidSpec(f"{where}: not an absolute path of at most 107 bytes")
        return Syslog(kind, path=rest)
    host, port = _host_port(rest.removesuffix("/"))
    if not host or (number := decimal(port, 1, 2**16 - 1)) is None:
        raise InvalidSpec(f"{where}: expected HOST:PORT, the port from 1 to 65535")
    return Syslog(kind, host=host, port=number)


def _host_port(text: str) -> tuple[str, str]:
    """`host`, `host:port`, `[v6]` and `[v6]:port`."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or str(SYSLOG_PORT)
    host, _, port = text.partition(":")
    return host, port or str(SYSLOG_PORT)


def _tag(text: str) -> str:
    """A template of the fields that `expand_tag` knows."""
    if len(text) > _MAX_TAG:
        raise InvalidSpec(f"--log-opt tag: at most {_MAX_TAG} characters")
    for action in _TAG_ACTION.finditer(text):
        body = action[1].strip()
        if body.removeprefix(".") not in TAG_FIELDS or not body.startswith("."):
            expected = ", ".join(f"{{{{.{name}}}}}" for name in TAG_FIELDS)
            raise InvalidSpec(f"--log-opt tag: {action[0][:40]}: expected one of {expected}")
    if "{{" in _TAG_ACTION.sub("", text):
        raise InvalidSpec("--log-opt tag: {{ without }}")
    return text


def expand_tag(tag: str, fields: Mapping[str, str]) -> str:
    """A tag, or the short id where none was asked for; `fields` by TAG_FIELDS' names."""
    text = tag or "{{.ID}}"
    return _TAG_ACTION.sub(lambda action: fields[action[1].strip()[1:]], text)
