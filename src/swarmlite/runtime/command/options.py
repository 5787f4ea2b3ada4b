"""The words of the command line, which are runc's: `[GLOBAL] COMMAND [FLAG] ID [ARGUMENT]`.

By hand, since argparse takes as long to load as a container takes to start.
"""

from __future__ import annotations

from swarmlite import __version__, errors

DEFAULT_ROOT = "/run/swarmlite-runtime"
VALUE, FLAG, MANY = "value", "flag", "many"
GLOBAL = {
    "root": VALUE, "log": VALUE, "log-format": VALUE, "debug": FLAG, "systemd-cgroup": FLAG,
    "rootless": VALUE, "criu": VALUE, "version": FLAG, "help": FLAG,
}  # fmt: skip
CREATE = {
    "bundle": VALUE, "console-socket": VALUE, "pid-file": VALUE, "preserve-fds": VALUE,
    "no-pivot": FLAG, "no-new-keyring": FLAG,
}  # fmt: skip
COMMANDS = {
    "create": CREATE,
    "run": {**CREATE, "detach": FLAG, "keep": FLAG, "no-subreaper": FLAG},
    "start": {},
    "state": {},
    "kill": {"all": FLAG, "signal": VALUE},
    "delete": {"force": FLAG},
    "exec": {
        "process": VALUE, "tty": FLAG, "detach": FLAG, "console-socket": VALUE, "pid-file": VALUE,
        "cwd": VALUE, "env": MANY, "user": VALUE, "additional-gids": MANY, "cap": MANY,
        "no-new-privs": FLAG, "preserve-fds": VALUE, "process-label": VALUE, "apparmor": VALUE,
        "ignore-paused": FLAG, "cgroup": VALUE,
    },
    "ps": {"format": VALUE},
    "pause": {},
    "resume": {},
    "update": {
        "resources": VALUE, "memory": VALUE, "memory-swap": VALUE, "memory-reservation": VALUE,
        "cpu-period": VALUE, "cpu-quota": VALUE, "cpu-share": VALUE, "cpuset-cpus": VALUE,
        "cpuset-mems": VALUE, "pids-limit": VALUE, "blkio-weight": VALUE, "kernel-memory": VALUE,
    },
    "list": {"format": VALUE, "quiet": FLAG},
    "features": {},
    "spec": {"bundle": VALUE, "rootless": FLAG},
    "help": {},
    "version": {},
}  # fmt: skip
SHORT = {
    "b": "bundle", "d": "detach", "a": "all", "f": "force", "p": "process", "t": "tty", "e": "env",
    "u": "user", "g": "additional-gids", "c": "cap", "r": "resources", "q": "quiet", "s": "signal",
    "v": "version", "h": "help",
}  # fmt: skip
SHORT_FORMAT = ("ps", "list")  # where -f is --format
WITHOUT_ID = ("list", "features", "spec", "help", "version")


class Options:
    """What was asked for: `values` by the long names of flags, lists for those given many times."""

    def __init__(self) -> None:
        self.command = ""
        self.id = ""
        self.arguments: list[str] = []
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}

    def has(self, name: str) -> bool:
        """Whether a flag was given."""
        return name in self.values

    def get(self, name: str, default: str = "") -> str:
        """A flag's value."""
        return self.values.get(name, default)

    def number(self, name: str) -> int | None:
        """A flag's value as a number; raises InvalidSpec."""
        text = self.values.get(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise errors.InvalidSpec(f"--{name}: {text!r} is not a number") from None

    @property
    def root(self) -> str:
        """Where the state of containers is."""
        return self.get("root", DEFAULT_ROOT)

    @property
    def log(self) -> str:
        """A file for errors and warnings; empty for none."""
        return self.get("log")

    @property
    def log_format(self) -> str:
        """`text` or `json`."""
        return self.get("log-format", "text")


def parse(words: list[str]) -> Options:
    """Raises InvalidSpec, which says what is wrong and what would be right."""
    options = Options()
    left = _flags(options, words, GLOBAL, "", stop_at_word=True)
    if options.has("version") or options.has("help"):
        options.command = "version" if options.has("version") else "help"
        return options
    if not left:
        raise errors.InvalidSpec(f"no command: one of {', '.join(COMMANDS)}")
    command = left.pop(0)
    if command not in COMMANDS:
        raise errors.InvalidSpec(f"unknown command {command!r}: one of {', '.join(COMMANDS)}")
    options.command = command
    if options.log_format not in ("text", "json"):
        raise errors.InvalidSpec(f"--log-format: {options.log_format!r} is not text or json")
    # A program's own flags are not ours: after exec's id everything is the program's.
    allowed = {**COMMANDS[command], "help": FLAG}
    left = _flags(options, left, allowed, command, stop_at_word=command in ("exec", "ps"))
    if options.has("help"):
        options.command = "help"
        return options
    if command not in WITHOUT_ID:
        if not left:
            raise errors.InvalidSpec(f"{command}: the container's id is missing")
        options.id = left.pop(0)
    if left and command not in ("exec", "ps", "kill", "help"):
        raise errors.InvalidSpec(f"{command}: unexpected argument {left[0]!r}")
    if command == "exec" and left[:1] == ["--"]:
        left.pop(0)
    options.arguments = left
    return options


def _flags(
    options: Options, words: list[str], allowed: dict[str, str], command: str, stop_at_word: bool
) -> list[str]:
    """Take the flags out of the words; returns the rest."""
    left: list[str] = []
    todo = list(words)
    while todo:
        word = todo.pop(0)
        if word == "--" or (stop_at_word and not word.startswith("-")):
            return [*left, *([] if word == "--" else [word]), *todo]
        if not word.startswith("-") or word == "-":
            left.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--"):
            name = "format" if name == "f" and command in SHORT_FORMAT else SHORT.get(name, name)
        kind = allowed.get(name)
        if kind is None:
            where = f"{command}: " if command else ""
            flags = ", ".join(f"--{flag}" for flag in allowed)
            raise errors.InvalidSpec(f"{where}unknown flag {word!r}: one of {flags}")
        if kind == FLAG:
            if equals and value not in ("true", "false"):
                raise errors.InvalidSpec(f"--{name}: {value!r} is not true or false")
            if value != "false":
                options.values[name] = "true"
            continue
        if not equals:
            if not todo:
                raise errors.InvalidSpec(f"--{name}: its value is missing")
            value = todo.pop(0)
        if kind == MANY:
            options.lists.setdefault(name, []).append(value)
        else:
            options.values[name] = value
    return left


def text(command: str) -> str:
    """What `version` and `help` print."""
    if command == "version":
        return f"swarmlite-runtime version {__version__}\nspec: 1.2.0"
    lines = [
        "usage: swarmlite-runtime [--root DIR] [--log FILE] [--log-format FORMAT] COMMAND",
        "",
    ]
    for name, flags in COMMANDS.items():
        words = [f"[--{flag}{'' if kind == FLAG else ' VALUE'}]" for flag, kind in flags.items()]
        words += [] if name in WITHOUT_ID else ["ID"]
        lines.append("  " + " ".join([name, *words]))
    return "\n".join(lines)
