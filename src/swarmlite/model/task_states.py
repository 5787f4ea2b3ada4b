"""The states of a task: their order, which are final, and the names that users read.

The order is that of the numbers in types.proto: a state only rises. The desired state belongs to
the managers; the observed one to the agent from ASSIGNED on, ORPHANED apart.
"""

from __future__ import annotations

from swarmlite.model import enums
from swarmlite.proto import types_pb2
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import TaskState

NEW = types_pb2.TASK_STATE_NEW
PENDING = types_pb2.TASK_STATE_PENDING
ASSIGNED = types_pb2.TASK_STATE_ASSIGNED
ACCEPTED = types_pb2.TASK_STATE_ACCEPTED
PREPARING = types_pb2.TASK_STATE_PREPARING
READY = types_pb2.TASK_STATE_READY
STARTING = types_pb2.TASK_STATE_STARTING
RUNNING = types_pb2.TASK_STATE_RUNNING
COMPLETE = types_pb2.TASK_STATE_COMPLETE
SHUTDOWN = types_pb2.TASK_STATE_SHUTDOWN
FAILED = types_pb2.TASK_STATE_FAILED
REJECTED = types_pb2.TASK_STATE_REJECTED
REMOVE = types_pb2.TASK_STATE_REMOVE
ORPHANED = types_pb2.TASK_STATE_ORPHANED

FAILURES = frozenset({FAILED, REJECTED, ORPHANED})
"""Final states that count as a failure of the task."""

AGENT_REPORTS = frozenset(
    {ACCEPTED, PREPARING, READY, STARTING, RUNNING, COMPLETE, SHUTDOWN, FAILED, REJECTED}
)
"""What an agent may report; the rest is only the managers'."""

_PREFIX = "TASK_STATE_"


def is_terminal(state: TaskState.ValueType) -> bool:
    """Whether a task in this observed state has ended for good."""
    return state > RUNNING


def name(state: TaskState.ValueType) -> str:
    """The name as specs and filters write it: "running"."""
    return enums.word(TaskState, state, _PREFIX)


def title(state: TaskState.ValueType) -> str:
    """The name as tables print it: "Running"."""
    return name(state).capitalize()


def parse(text: str) -> TaskState.ValueType:
    """The state of this name, in any case. Raises ValueError for a word that is none."""
    return TaskState.Value(_PREFIX + text.upper())


def is_live(task: Task) -> bool:
    """Whether the task is desired to run and has not ended: it fills its slot."""
    return task.desired_state <= RUNNING and task.status.state <= RUNNING


def is_running(task: Task) -> bool:
    """Whether the task runs, is healthy as far as is known, and is desired to run."""
    return task.status.state == RUNNING and task.desired_state == RUNNING


def in_rotation(task: Task) -> bool:
    """Whether the VIP and the names of its service answer with this task."""
    return is_running(task) and task.status.healthy


def is_attachment(task: Task) -> bool:
    """Whether the task only holds a plain container's place on a network: nothing is run for it."""
    return not task.service_id and task.spec.HasField("attachment")
