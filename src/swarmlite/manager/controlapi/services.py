"""Services: created, updated, rolled back and removed; their tasks are the orchestrators'."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from swarmlite.errors import Conflict, FailedPrecondition, InvalidSpec
from swarmlite.ids import new_id
from swarmlite.manager.store.tables import Tally
from swarmlite.model import defaults, dirty, revisions, task_states
from swarmlite.model.replicas import desired_replicas
from swarmlite.model.validate import validate_change, validate_service
from swarmlite.proto.control_pb2 import (
    CreateServiceRequest,
    Empty,
    GetRequest,
    ListRequest,
    ListServicesResponse,
    RemoveRequest,
    ServiceStatus,
    UpdateServiceRequest,
)
from swarmlite.proto.control_pb2 import Rows as RowsAnswer
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import NodeSpec, ServiceSpec
from swarmlite.proto.types_pb2 import NodeStatus, TaskState, UpdateStatus, Version

from .api import AGAIN_S, WRITES, Api, check_free, copy_of, resolve
from .filters import STACK_LABEL, Holds, compile_filters, has_label, one_of
from .polled import Polled
from .ports import check_ports
from .references import resolve_references
from .rows import Rows

FILTERS: Mapping[str, Holds[Service]] = {
    "id": lambda service, value: service.id.startswith(value),
    "name": lambda service, value: service.spec.annotations.name.startswith(value),
    "label": lambda service, value: has_label(service.spec.annotations.labels, value),
    "mode": lambda service, value: (
        (service.spec.WhichOneof("mode") or "").replace("_", "-") == value
    ),
    "stack": lambda service, value: service.spec.annotations.labels.get(STACK_LABEL) == value,
}
READ = {"mode": one_of("mode", "replicated", "global", "replicated-job", "global-job")}


class Services:
    """The calls on services."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._rows = Rows()
        self._polled = Polled(ListServicesResponse)

    def get(self, request: GetRequest) -> Service:
        """One service."""
        return resolve("service", self._api.view.services, request.ref)

    def list(self, request: ListRequest) -> ListServicesResponse:
        """Services that pass the filters, with the counts of their tasks; see `seen`."""
        matches = compile_filters("services", request.filters, FILTERS, READ)
        services = [s for s in self._api.view.services if matches(s)]
        status = {service.id: status for service, status in self._with_status(services)}
        return self._polled.answer(
            request.seen,
            services,
            status,
            lambda: ListServicesResponse(services=services, status=status),
        )

    def rows(self) -> RowsAnswer:
        """The list of all services as it is printed."""
        return RowsAnswer(text=self._rows.text(self._with_status(self._api.view.services)))

    def _with_status(self, services: Iterable[Service]) -> Iterator[tuple[Service, ServiceStatus]]:
        down = [n.id for n in self._api.view.nodes if n.status.state == NodeStatus.DOWN]
        lost = Counter(
            task.service_id
            for node_id in down
            for task in self._api.view.tasks.of_node(node_id).values()
            if _runs(task.status.state, task.desired_state)
        )
        for service in services:
            yield service, self._status(service, lost[service.id])

    async def create(self, request: CreateServiceRequest) -> Service:
        """A new service, which the allocator and the orchestrators take up; or only its checks."""
        service = Service(id=new_id())
        service.spec.CopyFrom(self._complete(request.spec))
        service.spec_version.index = 1
        if service.spec.WhichOneof("mode") in ("replicated_job", "global_job"):
            # A scheduled one counts from now, and runs for the first time when it is due.
            service.job_status.job_iteration = 0 if service.spec.schedule else 1
            service.job_status.last_execution.FromDatetime(self._api.now())
        async with self._api.naming:
            check_free("service", self._api.view.services, service.spec.annotations.name)
            if request.check_only:
                check_ports(self._api.view, service)
                return service
            return await self._put(service)

    async def update(self, request: UpdateServiceRequest) -> Service:
        """A new spec, or the one before; the updater brings the tasks there.

        What the loops write of the service meanwhile, its endpoint or how an update goes, is no
        conflict: only a spec that changed since it was read is.
        """
        async with self._api.naming:
            for _ in range(WRITES - 1):
                try:
                    return await self._put(self._updated(request))
                except Conflict:
                    found = resolve("service", self._api.view.services, request.service_id)
                    _check_spec_unchanged(found, request.version)
                    await asyncio.sleep(AGAIN_S)
            return await self._put(self._updated(request))

    def _updated(self, request: UpdateServiceRequest) -> Service:
        found = resolve("service", self._api.view.services, request.service_id)
        _check_spec_unchanged(found, request.version)
        service = copy_of(found)
        if request.rebalance:
            _rebalance(service)
            return service
        if request.promote:
            _promote(service)
            return service
        if request.rollback == UpdateServiceRequest.PREVIOUS:
            self._roll_back(service, request.rollback_to)
        else:
            _change(service, self._complete(request.spec), self._api.now())
        forced = service.spec.task.force_update != found.spec.task.force_update
        if service.HasField("job_status") and (forced or not service.spec.schedule):
            service.job_status.job_iteration += 1
            service.job_status.last_execution.FromDatetime(self._api.now())
        return service

    async def _put(self, service: Service) -> Service:
        """Written only if its ports are free, whatever other managers publish at this moment."""
        if not service.spec.endpoint.ports:
            return await self._api.put(service)
        return await self._api.put_guarded(
            service, "ports", lambda: check_ports(self._api.view, service)
        )

    async def remove(self, request: RemoveRequest) -> Empty:
        """The service is gone at once; the orchestrator removes its tasks."""
        await self._api.remove(resolve("service", self._api.view.services, request.ref))
        return Empty()

    def _complete(self, spec: ServiceSpec) -> ServiceSpec:
        """The spec to store: checked, its defaults said, its references resolved."""
        validate_service(spec)
        return resolve_references(self._api.view, defaults.fill_service(spec))

    def _roll_back(self, service: Service, number: int) -> None:
        target = revisions.find(service, number) if number else _previous(service)
        _change(service, target, self._api.now())
        service.update_status.state = UpdateStatus.ROLLBACK_STARTED
        to = f" to revision {number}" if number else ""
        service.update_status.message = f"manually requested rollback{to}"
        service.update_status.started_at.FromDatetime(self._api.now())

    def _status(self, service: Service, lost: int) -> ServiceStatus:
        """`lost`: running tasks, as far as is known, on nodes that are down."""
        tallies = self._api.view.tasks.tallies(service.id)
        status = _counted(tallies, service.job_status.job_iteration)
        status.running_tasks -= lost
        if service.spec.stopped:
            status.desired_tasks = 0
        elif service.spec.WhichOneof("mode") == "replicated":
            status.desired_tasks = desired_replicas(service)
        elif service.spec.WhichOneof("mode") == "replicated_job":
            status.desired_tasks = service.spec.replicated_job.max_concurrent
        elif not tallies:
            status.desired_tasks = self._eligible(service)
        return status

    def _eligible(self, service: Service) -> int:
        """Nodes that a global service without tasks yet will run on."""
        return sum(
            node.status.state == NodeStatus.READY
            and node.spec.availability != NodeSpec.DRAIN
            and dirty.fits(service.spec.task, node)
            for node in self._api.view.nodes
        )


def _counted(tallies: Mapping[Tally, int], iteration: int) -> ServiceStatus:
    """Counts of a service's tasks; there may be a hundred thousand of them.

    Tasks of jobs are desired COMPLETE from the start; `expected` has those that are yet to be.
    """
    running = completed = expected = 0
    for (state, desired, of_iteration), count in tallies.items():
        if _runs(state, desired):
            running += count
        if desired <= task_states.RUNNING or (
            desired == task_states.COMPLETE and not task_states.is_terminal(state)
        ):
            expected += count
        if state == task_states.COMPLETE and of_iteration == iteration:
            completed += count
    return ServiceStatus(running_tasks=running, completed_tasks=completed, desired_tasks=expected)


def _runs(state: TaskState.ValueType, desired: TaskState.ValueType) -> bool:
    """Whether a task in this state counts as running, if its node lives."""
    return state == task_states.RUNNING and desired <= task_states.COMPLETE


def _check_spec_unchanged(service: Service, version: Version) -> None:
    """Raise Conflict unless the spec is the one that was read at `version`."""
    if not service.spec_read_at.index < version.index <= service.meta.version.index:
        raise Conflict(f"service {service.id}: update out of sequence")


def _previous(service: Service) -> ServiceSpec:
    if not service.HasField("previous_spec"):
        name = service.spec.annotations.name
        raise FailedPrecondition(f"service {name} does not have a previous spec")
    target = ServiceSpec()
    target.CopyFrom(service.previous_spec)
    return target


def _rebalance(service: Service) -> None:
    if service.spec.WhichOneof("mode") != "replicated":
        raise InvalidSpec(
            f"service {service.spec.annotations.name} is not replicated: nothing to rebalance"
        )
    service.rebalance.Clear()
    service.rebalance.SetInParent()


def _promote(service: Service) -> None:
    status, name = service.update_status, service.spec.annotations.name
    if status.state != UpdateStatus.UPDATING or not service.spec.update.canary:
        raise FailedPrecondition(f"service {name} has no canaries that could be promoted")
    if status.promoted:
        raise FailedPrecondition(f"the canaries of service {name} were promoted already")
    status.promoted = True
    status.message = "update in progress"


def _change(service: Service, spec: ServiceSpec, now: datetime) -> None:
    revisions.remember(service, now)
    validate_change(service.spec, spec)
    old_version = service.spec_version.index
    # A version is never used twice, also after a rollback to the one before.
    newest = max(old_version, service.previous_spec_version.index)
    service.spec_read_at.CopyFrom(service.meta.version)
    service.previous_spec.CopyFrom(service.spec)
    service.previous_spec_version.index = old_version
    if spec.replicated != service.spec.replicated or not spec.HasField("autoscale"):
        service.ClearField("autoscaling")  # it begins with the number that somebody chose
    # An update that stands is taken up again by the same spec; one that goes on keeps what it has,
    # its canaries' promotion too.
    going = service.update_status.state == UpdateStatus.UPDATING
    if not going or spec != service.spec:
        service.ClearField("update_status")
    service.spec.CopyFrom(spec)
    service.spec_version.index = newest + 1
