"""Dockerfiles are read whole: what they mean, and every problem at once."""

import pytest

from swarmlite.build.dockerfile import instructions as known
from swarmlite.build.dockerfile.instructions import Copy, From, Healthcheck, Onbuild, Pairs, Run
from swarmlite.build.dockerfile.parsing import Dockerfile, parse
from swarmlite.build.dockerfile.problems import BadDockerfile, Wrong
from swarmlite.build.dockerfile.words import expand, split

WHOLE = r"""# syntax=docker/dockerfile:1
# escape=\
# check=skip=all

# a comment
ARG VERSION=3.19 EMPTY
FROM --platform=$BUILDPLATFORM alpine:${VERSION} AS Base
ENV A=1 B="two words" C=three\ words
ENV OLD style value
LABEL "a.b"="c d" e=f
RUN --mount=type=cache,target=/root/.cache,sharing=locked,id=x \
    --mount=type=secret,id=token,required \
    --network=none echo one && \
    # a comment between
    echo two

RUN ["/bin/sh", "-c", "true"]
RUN <<EOF
echo $A
  indented
EOF
RUN <<-'FIRST' cat > /a && <<SECOND cat > /b
	kept
	FIRST
more
SECOND
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
FROM scratch
COPY --from=base --chown=1:2 --chmod=755 --link --parents --exclude=*.md /a /b /target/
COPY ["with blank", "/x y/"]
COPY <<robots.txt <<other plain /web/
User-agent: *
robots.txt
$A
other
ADD --checksum=sha256:00 --keep-git-dir=true https://example.com/x.tar /
WORKDIR /app/$A
USER app:app
EXPOSE 80 443/udp
VOLUME ["/data", "/logs"]
VOLUME /more /again
STOPSIGNAL SIGRTMIN+3
HEALTHCHECK --interval=5m --timeout=3s --retries=2 CMD curl -f http://localhost/ || exit 1
HEALTHCHECK NONE
ONBUILD COPY --chown=1 . /src
MAINTAINER Some One <x@example.com>
ENTRYPOINT ["/entry"]
CMD run --flag
"""


def test_every_instruction_of_the_reference() -> None:
    parsed = parse(WHOLE)
    assert parsed.directives == {
        "syntax": "docker/dockerfile:1", "escape": "\\", "check": "skip=all",
    }  # fmt: skip
    assert [pair for one in parsed.arguments for pair in one.pairs] == [
        ("VERSION", "3.19"), ("EMPTY", None),
    ]  # fmt: skip
    base, last = parsed.stages
    assert (base.name, base.begin.image) == ("base", "alpine:${VERSION}")
    assert base.begin.platform == "$BUILDPLATFORM"
    env, old, label, run, listed, document, two, shell = base.steps
    assert isinstance(env, Pairs) and env.pairs == (
        ("A", "1"), ("B", '"two words"'), ("C", r"three\ words"),
    )  # fmt: skip
    assert isinstance(old, Pairs) and old.pairs == (("OLD", "style value"),)
    assert isinstance(label, Pairs) and label.pairs[0] == ('"a.b"', '"c d"')
    assert isinstance(run, Run) and run.network == "none"
    assert run.command.shell.split() == ["echo", "one", "&&", "echo", "two"]
    assert [(m.kind, dict(m.options)) for m in run.mounts] == [
        ("cache", {"target": "/root/.cache", "sharing": "locked", "id": "x"}),
        ("secret", {"id": "token", "required": "true"}),
    ]
    assert isinstance(listed, Run) and listed.command.words == ("/bin/sh", "-c", "true")
    assert isinstance(document, Run)
    (text,) = document.command.documents
    assert (text.name, text.text, text.expand) == ("EOF", "echo $A\n  indented\n", True)
    assert isinstance(two, Run)
    assert [(d.text, d.expand) for d in two.command.documents] == [
        ("kept\n", False), ("more\n", True),
    ]  # fmt: skip
    assert isinstance(shell, known.Words) and shell.words[0] == "/bin/bash"
    copy, blank, documents, add = last.steps[:4]
    assert isinstance(copy, Copy) and (copy.sources, copy.target) == (("/a", "/b"), "/target/")
    assert (copy.origin, copy.chown, copy.chmod) == ("base", "1:2", "755")
    assert copy.link and copy.parents and copy.exclude == ("*.md",)
    assert isinstance(blank, Copy) and blank.sources == ("with blank",)
    assert isinstance(documents, Copy) and documents.sources == ("plain",)
    assert [(d.name, d.text) for d in documents.documents] == [
        ("robots.txt", "User-agent: *\n"), ("other", "$A\n"),
    ]  # fmt: skip
    assert isinstance(add, Copy) and add.add and add.checksum == "sha256:00" and add.keep_git_dir
    health = [step for step in last.steps if isinstance(step, Healthcheck)]
    assert health[0].times == {"interval": 300 * 10**9, "timeout": 3 * 10**9}
    assert health[0].retries == 2 and health[1].command is None
    (trigger,) = (step.trigger for step in last.steps if isinstance(step, Onbuild))
    assert isinstance(trigger, Copy) and trigger.chown == "1"
    assert [step.line for step in base.steps[:4]] == [8, 9, 10, 11]


def test_only_what_a_target_stands_on_is_needed() -> None:
    parsed = parse(
        "FROM a AS one\nFROM b AS two\nFROM one AS three\nCOPY --from=0 / /\n"
        "FROM c\nRUN --mount=from=two,target=/x true\nCOPY --from=other/image:1 / /\n"
    )
    assert [stage.number for stage in parsed.needed()] == [1, 3]
    assert [stage.number for stage in parsed.needed("three")] == [0, 2]
    assert [stage.number for stage in parsed.needed("0")] == [0]
    with pytest.raises(KeyError):
        parsed.needed("none")


def test_windows_paths_with_another_escape() -> None:
    parsed = parse("# escape=`\nFROM a\nCOPY x C:\\dir\\\nRUN one `\n two\n")
    copy, run = parsed.stages[0].steps
    assert isinstance(copy, Copy) and copy.target == "C:\\dir\\"
    assert isinstance(run, Run) and run.command.shell == "one  two"


def test_files_of_other_systems_are_read() -> None:
    parsed = parse("\ufefffrom a as B\r\nrun one \\\r\n\r\n two\r\n")
    assert isinstance(parsed.stages[0].begin, From) and parsed.stages[0].name == "b"
    (run,) = parsed.stages[0].steps
    assert isinstance(run, Run) and run.command.shell == "one  two"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("COPPY a b", "unknown instruction COPPY, did you mean COPY?"),
        ("XYZZY", "unknown instruction XYZZY"),
        ("COPY --chwon=1 a b", "unknown flag of COPY --chwon, did you mean --chown?"),
        ("COPY --from=9 a b", "--from=9: no earlier stage is that"),
        ("COPY --chown=1 --chown=2 a b", "--chown is specified twice"),
        ("COPY --chown a b", "--chown needs a value: --chown=VALUE"),
        ("COPY --link=maybe a b", "--link=maybe: expected true or false"),
        ("COPY a", "COPY needs a source and a destination"),
        ("COPY a b c", "with several sources the destination c must end with /"),
        ("ENV x", "ENV needs NAME=VALUE"),
        ("ENV a=b c", "'c' is not NAME=VALUE: quote a value with blanks"),
        ("LABEL a b", "LABEL needs NAME=VALUE"),
        ('ENV a="b', 'a quote " is not closed'),
        ("ARG =x", "'=x' is not NAME or NAME=VALUE"),
        ("RUN", "RUN needs an argument"),
        ("RUN --network=lan x", "--network=lan: expected default, none or host"),
        ("RUN --mount=type=vol,target=/x y", "--mount: unknown type 'vol': use bind, cache"),
        ("RUN --mount=type=cache x", "--mount type=cache needs target=PATH"),
        (
            "RUN --mount=type=tmpfs,target=/x,id=y z",
            "--mount type=tmpfs: unknown option 'id': use readonly",
        ),
        (
            "RUN --mount=type=cache,target=/x,sharing=y z",
            "--mount type=cache: sharing=y: use shared, private or locked",
        ),
        ("RUN --mount=type=secret,mode=9 z", "--mount type=secret: mode=9: expected octal digits"),
        ("SHELL /bin/sh", "SHELL needs a list"),
        ("HEALTHCHECK true", "expected HEALTHCHECK [OPTIONS] CMD command"),
        ("HEALTHCHECK --interval=x CMD y", "--interval=x: "),
        ("HEALTHCHECK --retries=x CMD y", "--retries=x: expected a whole number"),
        ("ONBUILD FROM x", "ONBUILD FROM is not allowed"),
        ("ONBUILD COPPY x", "unknown instruction COPPY, did you mean COPY?"),
        ("FROM a b", "expected FROM [--platform=PLATFORM] IMAGE [AS NAME]"),
        ("FROM a AS 1b", "'1b' is no name of a stage"),
        ("FROM a AS first", "stage first is specified twice"),
        ("EXPOSE 80/foo", "EXPOSE 80/foo: expected PORT[-PORT][/tcp|udp|sctp]"),
        ("EXPOSE 99999", "EXPOSE 99999: ports are from 1 to 65535"),
        ("STOPSIGNAL SIGFOO", "STOPSIGNAL SIGFOO: "),
        ("COPY --chmod=999 a b", "--chmod=999: expected octal digits"),
        ("ADD --checksum=md5:x http://h/a b", "--checksum=md5:x: expected sha256: and 64 digits"),
        ("FROM --platform=a/ b", "--platform=a/: expected such as linux/amd64"),
        ("RUN <<EOF\nno end", "the here-document EOF has no end: a line EOF of its own"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(line: str, said: str) -> None:
    with pytest.raises(BadDockerfile) as caught:
        parse(f"FROM scratch AS first\n\n{line}\n", "dir/Dockerfile")
    (text,) = str(caught.value).splitlines()
    assert text.startswith(f"dir/Dockerfile:3: {said}"), text


def test_all_problems_come_at_once() -> None:
    with pytest.raises(BadDockerfile) as caught:
        parse("# escape=x\nFROM a\nRUNN x\nENV y\nCOPY --from=5 a b\nEXPOSE x\nEXPOSE $x\n")
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4, 5, 6]
    for text, said in (
        ("", "Dockerfile:1: it has no FROM"),
        ("# only a comment\n", "Dockerfile:1: it has no FROM"),
        ("RUN x\n", "Dockerfile:1: RUN before the first FROM: only ARG may be"),
        ("# escape=`\n# escape=`\nFROM a", "Dockerfile:2: # escape= is specified twice"),
    ):
        with pytest.raises(BadDockerfile) as caught:
            parse(text)
        assert str(caught.value).startswith(said)


VARIABLES = {"a": "one", "empty": "", "path": "/usr/local/lib.tar.gz"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a ${a} $none ${none}x", "one one  x"),
        ("'$a' \"$a\" \\$a $ $1", "$a one $a $ $1"),
        (r'"a\"b\$c\d" a\ b', r'a"b$c\d a b'),
        ("${none:-x} ${empty:-x} ${empty-x} ${none-x} ${a:-x}", "x x  x one"),
        ("${none:+x} ${empty:+x} ${empty+x} ${a:+x} ${a:+$a-$path}",
         "  x x one-/usr/local/lib.tar.gz"),
        ("${none:-${a:-y}}", "one"),
        ("${path##*/} ${path#*/} ${path%.*} ${path%%.*}",
         "lib.tar.gz usr/local/lib.tar.gz /usr/local/lib.tar /usr/local/lib"),
        ("${path/l/L} ${path//l/L} ${path//l}",
         "/usr/Local/lib.tar.gz /usr/LocaL/Lib.tar.gz /usr/oca/ib.tar.gz"),
    ],
)  # fmt: skip
def test_variables_are_replaced_as_the_reference_says(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


def test_variables_that_cannot_be_replaced_are_said() -> None:
    for text, said in (
        ("${none:?is needed}", "none: is needed"),
        ("${", "brace is not closed"),
        ("${a!b}", "unknown modifier"),
        ("${1}", "names no variable"),
    ):
        with pytest.raises(Wrong, match=said):
            expand(text, VARIABLES)
    assert split(r"""a 'b c' "d e"f g\ h ''""", "\\") == ["a", "'b c'", '"d e"f', r"g\ h", "''"]


def test_hostile_files_end() -> None:
    with pytest.raises(Wrong, match="more than 50 deep"):
        expand("${a:-" * 200 + "}" * 200, {})
    for text in ("FROM a\n" + "RUN x \\\n" * 10_000, "FROM a\n" + "ENV a=b\n" * 2_000):
        assert isinstance(parse(text), Dockerfile)
    with pytest.raises(BadDockerfile, match="longer than"):
        parse("FROM a\n" + "#" * (5 << 20))
    with pytest.raises(BadDockerfile):
        parse("\0\n")
