"""What each instruction means; words still have their variables in them.

Source: the Dockerfile reference. A reader of one raises Wrong.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from swarmlite.build.dockerfile import words
from swarmlite.build.dockerfile.lines import Document
from swarmlite.build.dockerfile.mounts import RunMount, parse_mount
from swarmlite.build.dockerfile.problems import Wrong
from swarmlite.errors import InvalidSpec
from swarmlite.model.units import parse_duration


@dataclass(frozen=True)
class Command:
    """The exec form, words; or the shell form, one text for the image's shell."""

    words: tuple[str, ...] = ()
    shell: str = ""
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True)
class Instruction:
    """One, at its first line; `text` is as it is written."""

    line: int = field(default=0, kw_only=True)
    text: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class From(Instruction):
    """`image` may be an earlier stage's name."""

    image: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True)
class Run(Instruction):
    """A command, with what it is given for its time."""

    command: Command
    mounts: tuple[RunMount, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True)
class Copy(Instruction):
    """COPY, or ADD with `add`; `documents` are sources too, by their names."""

    sources: tuple[str, ...]
    target: str
    documents: tuple[Document, ...] = ()
    add: bool = False
    origin: str = ""
    """--from: a stage, or an image."""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None


@dataclass(frozen=True)
class Pairs(Instruction):
    """ENV, LABEL and ARG: `kind` says which; of an ARG without a default, the value is None."""

    kind: str
    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Words(Instruction):
    """EXPOSE, VOLUME, SHELL, and USER, WORKDIR, STOPSIGNAL, MAINTAINER with one word."""

    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Process(Instruction):
    """CMD or ENTRYPOINT."""

    kind: str
    command: Command


@dataclass(frozen=True)
class Healthcheck(Instruction):
    """Without a command: NONE. Times in nanoseconds, 0 where they are not said."""

    command: Command | None
    times: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0


@dataclass(frozen=True)
class Onbuild(Instruction):
    """What is done when another image is built on this one."""

    trigger: Instruction


@dataclass(frozen=True)
class Written:
    """An instruction taken apart, for its reader."""

    line: int
    text: str
    rest: str
    flags: tuple[tuple[str, str | None], ...]
    documents: tuple[Document, ...]
    escape: str

    def one(self, name: str) -> str:
        """The value of a flag; empty where it is not given. Raises Wrong."""
        values = [value for flag, value in self.flags if flag == name]
        if len(values) > 1:
            raise Wrong(f"--{name} is specified twice")
        if values and not values[0]:
            raise Wrong(f"--{name} needs a value: --{name}=VALUE")
        return values[0] or "" if values else ""

    def truth(self, name: str) -> bool:
        """Of a flag that may stand alone."""
        values = [value for flag, value in self.flags if flag == name]
        if values and values[-1] not in (None, "true", "false"):
            raise Wrong(f"--{name}={values[-1]}: expected true or false")
        return bool(values) and values[-1] != "false"

    def every(self, name: str) -> tuple[str, ...]:
        """Values of a flag that may be given several times."""
        return tuple(value or "" for flag, value in self.flags if flag == name)

    def split(self) -> list[str]:
        """The words. Raises Wrong."""
        return words.split(self.rest, self.escape)


def read(keyword: str, written: Written) -> Instruction:
    """The instruction. Raises Wrong, with a guess where its name is unknown."""
    known = _READERS.get(keyword)
    if known is None:
        raise Wrong(unknown("instruction", keyword, _READERS))
    reader, flags = known
    for flag, _ in written.flags:
        if flag not in flags:
            raise Wrong(unknown(f"flag of {keyword}", f"--{flag}", [f"--{name}" for name in flags]))
    if not written.rest and not (keyword == "CMD" or written.documents):
        raise Wrong(f"{keyword} needs an argument")
    return reader(keyword, written)


def unknown(what: str, word: str, known: Mapping[str, object] | list[str]) -> str:
    """The line of a word that is not known."""
    close = difflib.get_close_matches(word, list(known), 1)
    guess = f", did you mean {close[0]}?" if close else ""
    return f"unknown {what} {word[:40]}{guess}"


def _command(written: Written) -> Command:
    found = words.exec_form(written.rest)
    if found is not None:
        return Command(tuple(found))
    return Command((), written.rest, written.documents)


def _from(_: str, written: Written) -> Instruction:
    parts = written.split()
    named = len(parts) == 3 and parts[1].lower() == "as"
    if not named and len(parts) != 1:
        raise Wrong("expected FROM [--platform=PLATFORM] IMAGE [AS NAME]")
    name = parts[2].lower() if named else ""
    if name and not (
        name[0].isalpha() and name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum()
    ):
        raise Wrong(f"{name[:40]!r} is no name of a stage: a letter, then letters, digits, - _ .")
    return From(parts[0], name, written.one("platform"), line=written.line, text=written.text)


def _run(_: str, written: Written) -> Instruction:
    network = written.one("network") or "default"
    if network not in ("default", "none", "host"):
        raise Wrong(f"--network={network[:40]}: expected default, none or host")
    security = written.one("security") or "sandbox"
    if security not in ("sandbox", "insecure"):
        raise Wrong(f"--security={security[:40]}: expected sandbox or insecure")
    mounts = tuple(parse_mount(value) for value in written.every("mount"))
    return Run(_command(written), mounts, network, security, line=written.line, text=written.text)


def _copy(keyword: str, written: Written) -> Instruction:
    listed = words.exec_form(written.rest)
    parts = listed if listed is not None else written.split()
    names = {f"<<{document.name}" for document in written.documents}
    sources = [
        p for p in parts[:-1] if p.replace("-", "").replace('"', "").replace("'", "") not in names
    ]
    if len(parts) < 2:
        raise Wrong(f"{keyword} needs a source and a destination")
    several = len(sources) + len(written.documents) > 1
    if (
        several
        and not parts[-1].endswith("/")
        and "$" not in parts[-1]
        and parts[-1] not in (".", "..")
    ):
        raise Wrong(f"with several sources the destination {parts[-1][:40]} must end with /")
    add = keyword == "ADD"
    return Copy(
        tuple(sources),
        parts[-1],
        written.documents,
        add=add,
        origin="" if add else written.one("from"),
        chown=written.one("chown"),
        chmod=written.one("chmod"),
        link=written.truth("link"),
        parents=not add and written.truth("parents"),
        exclude=written.every("exclude"),
        checksum=written.one("checksum") if add else "",
        keep_git_dir=add and written.truth("keep-git-dir"),
        unpack=written.truth("unpack") if add and written.every("unpack") else None,
        line=written.line,
        text=written.text,
    )


def _pairs(keyword: str, written: Written) -> Instruction:
    parts = written.split()
    if "=" not in parts[0]:
        if keyword == "LABEL" or len(parts) < 2:
            raise Wrong(f"{keyword} needs NAME=VALUE")
        value = written.rest[len(parts[0]) :].strip()
        pairs: list[tuple[str, str | None]] = [(parts[0], value)]
    else:
        pairs = []
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals or not name:
                raise Wrong(f"{part[:40]!r} is not NAME=VALUE: quote a value with blanks")
            pairs.append((name, value))
    return Pairs(keyword, tuple(pairs), line=written.line, text=written.text)


def _arg(keyword: str, written: Written) -> Instruction:
    pairs: list[tuple[str, str | None]] = []
    for part in written.split():
        name, equals, value = part.partition("=")
        if not name:
            raise Wrong(f"{part[:40]!r} is not NAME or NAME=VALUE")
        pairs.append((name, value if equals else None))
    return Pairs(keyword, tuple(pairs), line=written.line, text=written.text)


def _words(keyword: str, written: Written) -> Instruction:
    found = words.exec_form(written.rest) if keyword in ("VOLUME", "SHELL") else None
    if keyword == "SHELL" and not found:
        raise Wrong('SHELL needs a list, for example ["/bin/sh", "-c"]')
    parts = found if found is not None else written.split()
    if not all(parts):
        raise Wrong(f"{keyword} with an empty word")
    return Words(keyword, tuple(parts), line=written.line, text=written.text)


def _one_word(keyword: str, written: Written) -> Instruction:
    return Words(keyword, (written.rest,), line=written.line, text=written.text)


def _process(keyword: str, written: Written) -> Instruction:
    return Process(keyword, _command(written), line=written.line, text=written.text)


def _healthcheck(_: str, written: Written) -> Instruction:
    word, _, rest = written.rest.partition(" ")
    if word.upper() == "NONE":
        if rest.strip() or written.flags:
            raise Wrong("HEALTHCHECK NONE takes nothing else")
        return Healthcheck(None, line=written.line, text=written.text)
    if word.upper() != "CMD" or not rest.strip():
        raise Wrong("expected HEALTHCHECK [OPTIONS] CMD command, or HEALTHCHECK NONE")
    times = {}
    for name in ("interval", "timeout", "start-period", "start-interval"):
        if text := written.one(name):
            try:
                times[name] = parse_duration(text)
            except InvalidSpec as error:
                raise Wrong(f"--{name}={text[:40]}: {error}") from error
    retries = written.one("retries") or "0"
    if not retries.isdecimal():
        raise Wrong(f"--retries={retries[:40]}: expected a whole number")
    found = words.exec_form(rest.strip())
    command = Command(tuple(found)) if found is not None else Command((), rest.strip())
    return Healthcheck(command, times, int(retries), line=written.line, text=written.text)


def _onbuild(_: str, written: Written) -> Instruction:
    keyword, _, rest = written.rest.partition(" ")
    keyword = keyword.upper()
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise Wrong(f"ONBUILD {keyword} is not allowed")
    flags, rest = words.split_flags(rest.strip())
    inner = Written(
        written.line, written.rest, rest, tuple(flags), written.documents, written.escape
    )
    return Onbuild(read(keyword, inner), line=written.line, text=written.text)


Reader = Callable[[str, Written], Instruction]
_FILES = ("chown", "chmod", "link", "exclude")
_READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "FROM": (_from, ("platform",)),
    "RUN": (_run, ("mount", "network", "security")),
    "COPY": (_copy, ("from", "parents", *_FILES)),
    "ADD": (_copy, ("checksum", "keep-git-dir", "unpack", *_FILES)),
    "ENV": (_pairs, ()), "LABEL": (_pairs, ()), "ARG": (_arg, ()),
    "EXPOSE": (_words, ()), "VOLUME": (_words, ()), "SHELL": (_words, ()),
    "USER": (_one_word, ()), "WORKDIR": (_one_word, ()), "STOPSIGNAL": (_one_word, ()),
    "MAINTAINER": (_one_word, ()), "CMD": (_process, ()), "ENTRYPOINT": (_process, ()),
    "HEALTHCHECK": (
        _healthcheck, ("interval", "timeout", "start-period", "start-interval", "retries"),
    ),
    "ONBUILD": (_onbuild, ()),
}  # fmt: skip
KEYWORDS = tuple(_READERS)
