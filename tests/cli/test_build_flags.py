"""`swarmlite build`: its flags, its outputs, and how it shows what it is told."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from swarmlite.cli.build import outputs
from swarmlite.cli.build.options import arguments, secrets
from swarmlite.cli.build.progress.plain import Plain
from swarmlite.cli.build.progress.rawjson import RawJson
from swarmlite.cli.build.progress.terminal import Terminal, columns, cut
from swarmlite.proto.build_pb2 import BuildEvent, BuildOutput


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--squash .", "--squash: not supported: use a second stage with COPY --from"),
        ("--cache-to type=local .", "dest is missing: type=local,dest=..."),
        ("--cache-to type=gha .", "unknown key 'gha'"),
        ("--cache-to type=registry,ref=a,mode=all .", "mode=all: expected min or max"),
        ("--cache-from type=local,source=x .", "unknown key 'source'"),
        ("--provenance true .", "--provenance: not supported: no attestations are made"),
        ("--platform linux/amd64,linux .", "expected OS/ARCHITECTURE[/VARIANT]"),
        ("--secret id=x,src=/nowhere .", "--secret x: /nowhere: No such file or directory"),
        ("--secret src .", "src needs a value: src=..."),
        ("--secret id=x,env=UNSET_HERE .", "--secret x: the variable UNSET_HERE is not set"),
        ("--output type=zip,dest=x .", "unknown key 'zip'"),
        ("--output type=local .", "dest is missing: type=local,dest=PATH"),
        ("--output type=image,dest=x .", "type=image has no dest"),
        ("--push .", "to push it the image needs a name: --tag NAME"),
        ("--build-arg =x .", "--build-arg =x: expected NAME=VALUE or NAME"),
        ("--ssh k=/nowhere .", "--ssh k: /nowhere: No such file or directory"),
        ("-t Upper .", "Upper"),
        ("--progress loud .", "'loud' is not one of"),
        ("--call outline .", "--call outline: only build and check are there"),
        ("/nowhere", "the context /nowhere does not exist: expected a folder"),
        ("", '"swarmlite build" requires exactly 1 argument.'),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_sent(
    run: Any, words: str, said: str
) -> None:
    for verb in (["build"], ["image", "build"], ["buildx", "build"]):
        result = run(*verb, *words.split())
        expected = said.replace("swarmlite build", f"swarmlite {' '.join(verb)}")
        assert expected in result.err and result.err.count("\n") == 1
        assert result.status in (1, 125) and result.out == ""


def test_arguments_and_secrets_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SET_HERE", "value")
    assert arguments(["A=b", "SET_HERE", "UNSET_HERE", "E="], "--build-arg") == {
        "A": "b",
        "SET_HERE": "value",
        "E": "",
    }
    (tmp_path / "file").write_bytes(b"\0\xff")
    found = secrets([f"id=f,src={tmp_path}/file", "id=e,env=SET_HERE", "id=SET_HERE"])
    assert found == {"f": b"\0\xff", "e": b"value", "SET_HERE": b"value"}
    assert secrets([f"id=f,source={tmp_path}/file"]) == {"f": b"\0\xff"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", outputs.Output("local", "out")),
        ("-", outputs.Output("tar", "-")),
        ("type=tar,dest=a.tar", outputs.Output("tar", "a.tar")),
        ("type=oci,dest=a.tar", outputs.Output("oci", "a.tar")),
        ("type=registry", outputs.Output("registry", push=True)),
        (
            "type=image,name=a:b,push=true",
            outputs.Output("image", names=("a:b",), push=True),
        ),
    ],
)
def test_outputs_are_read(text: str, expected: outputs.Output) -> None:
    assert outputs.parse(text) == expected


def test_an_archive_for_docker_without_a_place_is_kept_here() -> None:
    assert outputs.parse("type=docker").message.type == BuildOutput.IMAGE
    assert outputs.parse("type=docker,dest=x").message.type == BuildOutput.DOCKER


def a_tar(**files: str) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o4755
            tar.addfile(info, io.BytesIO(text.encode()))
    return found.getvalue()


def test_a_folder_is_unpacked_and_keeps_no_set_user_id_bits(tmp_path: Path) -> None:
    sink = outputs.sink(outputs.Output("local", str(tmp_path / "out")))
    assert sink is not None
    data = a_tar(file="content")
    for start in range(0, len(data), 700):
        sink.write(data[start : start + 700])
    sink.finish()
    assert (tmp_path / "out" / "file").read_text() == "content"
    assert (tmp_path / "out" / "file").stat().st_mode & 0o7777 == 0o755


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    sink = outputs.sink(outputs.Output("tar", str(tmp_path / "a.tar")))
    assert sink is not None
    sink.write(b"half")
    sink.drop()
    assert list(tmp_path.iterdir()) == []


# progress
def events(*shown: dict[str, Any]) -> list[BuildEvent]:
    return [BuildEvent(**one) for one in shown]


def a_build() -> list[BuildEvent]:
    return events(
        {"plan": {"steps": 2}},
        {"step": {"id": 1, "name": "[1/2] FROM busybox", "started": {"seconds": 100}}},
        {"step_done": {"id": 1, "cached": True, "completed": {"seconds": 100}}},
        {
            "step": {
                "id": 2,
                "name": "[2/2] RUN x",
                "started": {"seconds": 100},
                "digest": "sha256:2",
            }
        },
        {"log": {"step": 2, "stream": 1, "data": b"one\ntw", "time": {"seconds": 101}}},
        {"log": {"step": 2, "stream": 1, "data": b"o\n10%\r20%", "time": {"seconds": 102}}},
        {"status": {"step": 2, "id": "fetch", "current_bytes": 1000, "total_bytes": 2000}},
        {"status": {"step": 2, "id": "fetch", "current_bytes": 1500, "total_bytes": 2000}},
        {"step_done": {"id": 2, "completed": {"seconds": 103}}},
        {"warning": {"file": "Dockerfile", "line": 2, "text": "old form", "rule": "Legacy"}},
    )


def test_plain_progress_is_numbered_lines() -> None:
    out = io.StringIO()
    plain = Plain(out)
    for event in a_build():
        plain.hear(event)
    plain.close(failed=False)
    assert out.getvalue() == (
        "#1 [1/2] FROM busybox\n#1 CACHED\n\n"
        "#2 [2/2] RUN x\n#2 1.000 one\n#2 2.000 two\n#2 fetch 1kB / 2kB\n#2 20%\n#2 DONE 3.0s\n"
        "WARN: Dockerfile:2: old form (Legacy)\n\n"
    )


def test_rawjson_is_an_object_a_line_by_digest() -> None:
    out = io.StringIO()
    raw = RawJson(out)
    for event in a_build():
        raw.hear(event)
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    vertexes = [one["vertexes"][0] for one in found if "vertexes" in one]
    assert [v["name"] for v in vertexes] == ["[1/2] FROM busybox"] * 2 + ["[2/2] RUN x"] * 2
    assert vertexes[1]["cached"] and vertexes[3]["completed"]
    logs = [one["logs"][0] for one in found if "logs" in one]
    assert {log["vertex"] for log in logs} == {"sha256:2"} and logs[0]["stream"] == 1


class Screen(io.StringIO):
    """What a terminal of 10 lines has on it, as far as these sequences go."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_s_region_is_never_larger_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "40")
    out = Screen()
    shown = Terminal(out)
    try:
        for number in range(1, 31):
            shown.hear(BuildEvent(step={"id": number, "name": f"[{number}/30] RUN {'x' * 60}"}))
            log = {"step": number, "data": b"\x1b[2Jline\n" * 20}
            shown.hear(BuildEvent(log=log))
        region = shown._region(39, 9)
        assert len(region) == 9 and region[0].startswith("[+] Building")
        assert max(columns(line) for line in region) <= 39
        assert "\x1b" not in "".join(region)
    finally:
        shown.close(failed=True)
    assert "FAILED" in out.getvalue()


def test_what_failed_stays_with_the_end_of_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Screen()
    shown = Terminal(out)
    for event in events(
        {"step": {"id": 1, "name": "[1/1] RUN x"}},
        {"log": {"step": 1, "data": b"why\n"}},
        {"step_done": {"id": 1, "error": "exit code: 1", "exit_code": 1}},
    ):
        shown.hear(event)
    shown.close(failed=True)
    assert "=> ERROR [1/1] RUN x" in out.getvalue()
    assert "------\n > [1/1] RUN x:\nwhy\n------\n" in out.getvalue()
    assert "\x1b[3" not in out.getvalue()


def test_wide_characters_are_counted_as_two() -> None:
    assert columns("日本") == 4 and cut("日本語", 5) == "日本"
