"""An exec as Docker's inspect shows it."""

from __future__ import annotations

from swarmlite.docker.values import Json
from swarmlite.proto.containers_pb2 import ExecState


def inspect(value: ExecState) -> Json:
    """Whether it runs, and its exit code once it does not."""
    config, words = value.config, list(value.config.command)
    return {
        "ID": value.id,
        "Running": value.running,
        "ExitCode": value.exit_code if value.HasField("exit_code") else None,
        "ProcessConfig": {
            "tty": config.tty,
            "entrypoint": words[0] if words else "",
            "arguments": words[1:],
            "privileged": config.privileged,
            **({"user": config.user} if config.user else {}),
            **({"env": list(config.env)} if config.env else {}),
            **({"workingDir": config.dir} if config.dir else {}),
        },
        "OpenStdin": config.attach_stdin,
        "OpenStderr": config.attach_stderr,
        "OpenStdout": config.attach_stdout,
        "CanRemove": False,
        "ContainerID": value.container_id,
        "DetachKeys": "",
        "Pid": value.pid,
    }
