"""Log drivers: Docker's options with Docker's defaults, and one clear line for what is wrong."""

from __future__ import annotations

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.model.log_drivers import File, Syslog, expand_tag, parse

MIB = 1 << 20


@pytest.mark.parametrize(
    ("name", "options", "file"),
    [
        ("", {}, File(10 * MIB, 3, False)),
        ("json-file", {"max-size": "5m"}, File(5 * MIB, 1, False)),
        ("json-file", {"max-file": "7"}, File(10 * MIB, 7, False)),
        (
            "json-file",
            {"max-size": "1k", "max-file": "2", "compress": "true"},
            File(1024, 2, True),
        ),
        ("local", {}, File(20 * MIB, 5, True)),
        ("local", {"max-file": "1"}, File(20 * MIB, 1, False)),
        ("none", {"anything": "goes"}, None),
        ("journald", {}, File(20 * MIB, 5, True)),
        ("syslog", {"cache-disabled": "true"}, None),
        ("syslog", {"cache-max-size": "2m", "cache-compress": "false"}, File(2 * MIB, 5, False)),
    ],
)
def test_the_file_that_is_kept_is_as_docker_keeps_it(
    name: str, options: dict[str, str], file: File | None
) -> None:
    assert parse(name, options).file == file


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", Syslog()),
        ("udp://10.0.0.1:1514", Syslog("udp", host="10.0.0.1", port=1514)),
        ("tcp://logs.example", Syslog("tcp", host="logs.example", port=514)),
        ("udp://[fd00::1]:99", Syslog("udp", host="fd00::1", port=99)),
        ("unix:///dev/other", Syslog("unix", path="/dev/other")),
        ("unixgram:///run/log", Syslog("unixgram", path="/run/log")),
    ],
)
def test_addresses_of_syslog_servers_are_read(address: str, expected: Syslog) -> None:
    assert parse("syslog", {"syslog-address": address}).syslog == expected


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("splunk", {}, "--log-driver splunk: unknown log driver: expected json-file, local"),
        ("local", {"labels": "a"}, "--log-opt labels: unknown option of log driver local"),
        ("", {"max-size": "0"}, "--log-opt max-size: must be positive"),
        ("", {"max-size": "lots"}, "--log-opt max-size: 'lots' is not a size"),
        ("", {"max-file": "0"}, "--log-opt max-file: '0' is not a number from 1 to 1000"),
        ("", {"compress": "yes"}, "--log-opt compress: 'yes' is neither true nor false"),
        ("", {"compress": "true", "max-file": "1"}, "--log-opt compress: needs max-file of at"),
        ("", {"max-buffer-size": "1m"}, "only valid with mode=non-blocking"),
        ("", {"mode": "fast"}, "--log-opt mode: 'fast': expected blocking or non-blocking"),
        ("", {"tag": "{{.Nope}}"}, "--log-opt tag: {{.Nope}}: expected one of {{.ID}}"),
        ("", {"tag": "{{.ID"}, "--log-opt tag: {{ without }}"),
        ("", {"labels-regex": "("}, "is not a regular expression"),
        ("syslog", {"syslog-address": "ftp://x"}, "expected udp://HOST:PORT"),
        ("syslog", {"syslog-address": "udp://:514"}, "expected HOST:PORT"),
        ("syslog", {"syslog-address": "tcp://x:99999"}, "the port from 1 to 65535"),
        ("syslog", {"syslog-address": "tcp+tls://x:1"}, "over TLS is not supported"),
        ("syslog", {"syslog-address": "unix://log"}, "not an absolute path"),
        ("syslog", {"syslog-facility": "99"}, "expected a number from 0 to 23"),
        ("syslog", {"syslog-format": "json"}, "expected rfc3164, rfc5424 or rfc5424micro"),
    ],
)
def test_a_wrong_option_is_one_line(name: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        parse(name, options)
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_what_applies_to_every_line_is_read() -> None:
    config = parse(
        "syslog",
        {
            "syslog-facility": "local3", "syslog-format": "rfc5424micro", "tag": "{{.Name}}/x",
            "labels": "a, b", "env-regex": "^OS", "mode": "non-blocking", "max-buffer-size": "4m",
        },
    )  # fmt: skip
    assert config.syslog == Syslog(facility=19, format="rfc5424micro")
    assert (config.labels, config.env_regex) == (("a", "b"), "^OS")
    assert (config.blocking, config.max_buffer_bytes) == (False, 4 * MIB)
    assert expand_tag(config.tag, {"Name": "web"}) == "web/x"
    assert expand_tag("", {"ID": "0123456789ab"}) == "0123456789ab"
