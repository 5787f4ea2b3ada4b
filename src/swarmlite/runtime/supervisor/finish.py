"""The last steps of a process that a container will see, for its first process and for an exec.

They run inside the container's root. Nothing is imported here: what runs was loaded before.
"""

from __future__ import annotations

import errno
import os
import resource
import stat

from swarmlite.kernel import credentials, paths, processes, scheduling
from swarmlite.runtime import lean
from swarmlite.runtime.supervisor import identity
from swarmlite.runtime.supervisor.process_plan import CAP_SYS_ADMIN, ProcessPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ExecError(Exception):
    """exec failed: the shell's exit code for it, and the words."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def enter_cwd(cwd: bytes, make: bool) -> None:
    """Go to the working directory; raises OSError if it is not in the root.

    A missing one is made with `make`, for a container's first process; without, ExecError: a typing
    error in an exec may not change the container's files.
    """
    resolve = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        directory = paths.openat2(root, cwd, flags, resolve)
    except FileNotFoundError:
        if not make:
            line = f'exec: working directory "{os.fsdecode(cwd)}": no such file or directory'
            raise ExecError(127, line) from None
        directory = os.dup(root)
        path = b""
        for name in cwd.split(b"/"):
            if not name:
                continue
            path += b"/" + name
            with lean.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=directory)
            below = paths.openat2(root, path, flags, resolve)
            os.close(directory)
            directory = below
    os.fchdir(directory)
    os.close(directory)
    os.close(root)
    # A directory that a leaked descriptor names would be outside: getcwd then knows no path to it.
    if not os.getcwdb().startswith(b"/"):  # noqa: PTH109
        raise OSError(errno.EPERM, "the working directory is outside the container's root")


def own_pipes(uid: int) -> None:
    """Standard streams that are pipes belong to the user, who may open /dev/stderr as a file."""
    for fd in range(3):
        status = os.fstat(fd)
        if stat.S_ISFIFO(status.st_mode) and status.st_uid != uid:
            os.fchown(fd, uid, -1)


def set_rlimits(plan: ProcessPlan) -> None:
    """The limits of the spec, soft and hard."""
    for number, soft, hard in plan.rlimits:
        resource.setrlimit(number, (soft, hard))


def set_scheduling(plan: ProcessPlan) -> None:
    """How it is scheduled, and what the kernel calls its machine; raises OSError."""
    if plan.personality is not None:
        scheduling.set_personality(plan.personality)
    if plan.io_priority is not None:
        scheduling.set_io_priority(*plan.io_priority)
    if plan.scheduler is not None:
        scheduling.set_scheduler(*plan.scheduler)


def become(plan: ProcessPlan, who: identity.Identity) -> None:
    """Take the user, groups and capabilities.

    CAP_SYS_ADMIN stays permitted where the filter is loaded without no_new_privs, for loading it
    needs that. `load_filter` takes it away, or exec: there only the bounding, inheritable and
    ambient sets decide.
    """
    credentials.drop_bounding(plan.bounding, plan.last_cap)  # while CAP_SETPCAP is still there
    processes.prctl(processes.PR_SET_KEEPCAPS, 1)  # or leaving uid 0 would drop what is set below
    os.setgroups(who.gids)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    _set_capabilities(plan, CAP_SYS_ADMIN if _filter_needs_admin(plan) else 0)
    credentials.clear_ambient()
    for number in range(plan.last_cap + 1):
        if plan.ambient >> number & 1:
            credentials.raise_ambient(number)
    if plan.no_new_privs:
        processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1)


def _filter_needs_admin(plan: ProcessPlan) -> bool:
    return plan.filter is not None and not plan.no_new_privs


def _set_capabilities(plan: ProcessPlan, extra: int) -> None:
    effective = plan.effective & plan.permitted | extra
    credentials.capset(effective, plan.permitted | extra, plan.inheritable)


def load_filter(plan: ProcessPlan) -> None:
    """Install the filter before exec, and keep nothing of what that took."""
    if plan.filter is not None:
        plan.filter.install()
        keep_no_more(plan)


def keep_no_more(plan: ProcessPlan) -> None:
    """Give up what only installing a filter took."""
    if _filter_needs_admin(plan):
        _set_capabilities(plan, 0)


def environment(plan: ProcessPlan, who: identity.Identity) -> dict[bytes, bytes]:
    """The spec's variables; HOME from passwd when they have none."""
    variables: dict[bytes, bytes] = {}
    for entry in plan.env:
        name, _, value = entry.partition(b"=")
        variables[name] = value
    if not variables.get(b"HOME"):
        variables[b"HOME"] = os.fsencode(who.home)
    return variables


def execute(plan: ProcessPlan, variables: dict[bytes, bytes], *, filtered: bool = False) -> None:
    """Load the filter unless `filtered`, and exec, by the container's PATH; raises ExecError."""
    # exec marks descriptors, not the child's code: whatever was forgotten is closed there.
    if not filtered:
        processes.close_range(3 + plan.preserved, cloexec=True)
    # Last of all, so that a narrow filter need allow no more than exec (and write, to report).
    if plan.filter is not None and not filtered:
        plan.filter.install()
    _first(plan, candidates(plan, variables), lambda path: os.execve(path, plan.args, variables))


def spawn(plan: ProcessPlan, variables: dict[bytes, bytes], programs: list[bytes]) -> int:
    """The pid of the first of `programs` that can be run, which leads a session; ExecError.

    It borrows our memory until its exec, and no page of that is copied.
    """
    return _first(
        plan, programs, lambda path: os.posix_spawn(path, plan.args, variables, setsid=True)
    )


def candidates(plan: ProcessPlan, variables: dict[bytes, bytes]) -> list[bytes]:
    """Where the program may be, in the order to try."""
    program = plan.args[0]
    if b"/" in program:
        return [program]
    path = variables.get(b"PATH", DEFAULT_PATH)
    return [(directory or b".") + b"/" + program for directory in path.split(b":")]


def present(paths: list[bytes]) -> list[bytes]:
    """Without those at which nothing is; the last one, if nothing is at any."""
    return [path for path in paths if os.path.lexists(path)] or paths[-1:]


def _first(plan: ProcessPlan, paths: list[bytes], run: Callable[[bytes], int]) -> int:
    program = plan.args[0]
    named = b"/" in program
    refused: OSError | None = None
    for path in paths:
        try:
            return run(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            if error.errno != errno.EACCES or named:
                refused = error
                break
            refused = refused or error
    _explain(os.fsdecode(program), named, refused)
    return 0


def _explain(program: str, named: bool, refused: OSError | None) -> None:
    if refused is not None:
        words = (os.strerror(refused.errno or 0)).lower()
        raise ExecError(126, f'exec: "{program}": {words}')
    if named and _is_there(program):
        raise ExecError(127, f'exec: "{program}": its interpreter or loader is missing')
    if named:
        raise ExecError(127, f'exec: "{program}": stat {program}: no such file or directory')
    raise ExecError(127, f'exec: "{program}": executable file not found in $PATH')


def _is_there(program: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(program).st_mode)  # noqa: PTH116
    except OSError:
        return False
