"""The Control API for services, over the real server on a unix socket."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import Manager, ask, create, refused, service_spec

from swarmlite.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
)
from swarmlite.manager.controlapi.api import copy_of
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec
from swarmlite.proto.types_pb2 import UpdateStatus


async def test_a_created_service_says_its_defaults_and_is_found_by_name_id_and_prefix(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    assert made.meta.version.index > 0 and made.spec_version.index == 1
    assert made.spec.task.restart.delay.seconds == 5
    assert made.spec.update.parallelism == 1 and made.spec.update.monitor.seconds == 5
    assert made.spec.task.container.stop_grace_period.seconds == 10
    for ref in (made.id, "web", made.id[:10]):
        assert await ask(control.GetService(pb.GetRequest(ref=ref))) == made
    await refused(control.GetService(pb.GetRequest(ref="no")), NotFound, "service no not found")


@pytest.mark.parametrize("kind", ["Service", "Network", "Secret", "Config"])
async def test_names_that_differ_by_case_only_are_refused(control: ControlStub, kind: str) -> None:
    """DNS does not tell them apart: one would take the other's name from it."""
    method = getattr(control, f"Create{kind}")
    spec = {"Service": ServiceSpec, "Network": NetworkSpec, "Secret": SecretSpec,
            "Config": ConfigSpec}[kind]()  # fmt: skip
    if isinstance(spec, ServiceSpec):
        spec.CopyFrom(service_spec())
    elif not isinstance(spec, NetworkSpec):
        spec.data = b"x"
    request = getattr(pb, f"Create{kind}Request")
    spec.annotations.name = "web"
    await ask(method(request(spec=spec)))
    for name in ("Web", "WEB"):
        spec.annotations.name = name
        line = f"{kind.lower()} {name}: there is a {kind.lower()} web"
        await refused(method(request(spec=spec)), AlreadyExists, line)
    spec.annotations.name = "web2"
    await ask(method(request(spec=spec)))


async def test_names_are_unique(control: ControlStub) -> None:
    await create(control, service_spec())
    request = pb.CreateServiceRequest(spec=service_spec())
    await refused(control.CreateService(request), AlreadyExists, "service web already exists")


async def test_what_is_malformed_or_not_supported_is_refused_by_name(control: ControlStub) -> None:
    spec = service_spec()
    spec.task.container.isolation = "hyperv"
    request = pb.CreateServiceRequest(spec=spec)
    await refused(control.CreateService(request), InvalidSpec, "--isolation: not supported yet")
    request = pb.CreateServiceRequest(spec=service_spec("a_b-"))
    await refused(control.CreateService(request), InvalidSpec, "DNS label")


async def test_an_update_keeps_the_previous_spec_and_names_the_version_that_it_read(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    wanted = service_spec(image="busybox:2")
    request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, spec=wanted)
    updated = await ask(control.UpdateService(request))
    assert updated.spec.task.container.image == "busybox:2"
    assert updated.previous_spec == made.spec
    assert (updated.spec_version.index, updated.previous_spec_version.index) == (2, 1)
    await refused(control.UpdateService(request), Conflict, "update out of sequence")


async def test_what_loops_write_of_a_service_is_no_conflict_with_who_read_its_spec(
    manager: Manager, control: ControlStub
) -> None:
    """Its endpoint and how an update goes are written right after it was made or changed."""
    made = await create(control, service_spec())

    async def touched() -> Service:
        service: Service = await ask(control.GetService(pb.GetRequest(ref=made.id)))
        service.update_status.message += "."
        manager.put(service)
        return service

    await touched()
    request = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=service_spec(image="b:2")
    )
    updated = await ask(control.UpdateService(request))
    await touched()
    await refused(control.UpdateService(request), Conflict, "update out of sequence")
    request.version.CopyFrom(updated.meta.version)
    assert (await ask(control.UpdateService(request))).spec_version.index == 3
    request.version.index += 1000
    await refused(control.UpdateService(request), Conflict, "update out of sequence")


async def test_a_loop_s_write_in_the_same_moment_stops_neither_update_nor_removal(
    manager: Manager, control: ControlStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create(control, service_spec())
    commit, touches = manager.store.commit, [1, 1]

    async def raced(changes: Any, *more: Any, **options: Any) -> Any:
        if touches and touches.pop():
            service: Service = copy_of(manager.store.view.services.get(made.id))
            service.update_status.message += "."
            manager.put(service)
        return await commit(changes, *more, **options)

    monkeypatch.setattr(manager.store, "commit", raced)
    request = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=service_spec(image="b:2")
    )
    updated = await ask(control.UpdateService(request))
    assert updated.spec.task.container.image == "b:2"
    touches.append(1)
    await ask(control.RemoveService(pb.RemoveRequest(ref=made.id)))
    assert made.id not in manager.store.view.services


async def test_a_rollback_brings_back_the_spec_before_under_a_new_version(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    request = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, rollback=pb.UpdateServiceRequest.PREVIOUS
    )
    await refused(control.UpdateService(request), FailedPrecondition, "no.* previous spec")
    change = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=service_spec(image="b:2")
    )
    updated = await ask(control.UpdateService(change))
    request.version.CopyFrom(updated.meta.version)
    back = await ask(control.UpdateService(request))
    assert back.spec == made.spec and back.previous_spec == updated.spec
    assert back.spec_version.index == 3
    assert back.update_status.state == UpdateStatus.ROLLBACK_STARTED


async def test_a_rollback_goes_to_any_revision_that_is_kept(control: ControlStub) -> None:
    latest = await create(control, service_spec())
    for number in range(2, 14):
        spec = service_spec(image=f"b:{number}")
        spec.task.container.pull_options.registry_auth = f"secret{number}"
        request = pb.UpdateServiceRequest(
            service_id=latest.id, version=latest.meta.version, spec=spec
        )
        latest = await ask(control.UpdateService(request))
    kept = [revision.spec_version.index for revision in latest.history]
    assert kept == list(range(3, 13))
    assert "secret" not in str(latest.history)
    request = pb.UpdateServiceRequest(
        service_id=latest.id,
        version=latest.meta.version,
        rollback=pb.UpdateServiceRequest.PREVIOUS,
        rollback_to=2,
    )
    await refused(control.UpdateService(request), NotFound, "no revision 2; there are: 3, 4, ")
    request.rollback_to = 5
    back = await ask(control.UpdateService(request))
    assert back.spec.task.container.image == "b:5"
    assert back.spec.task.container.pull_options.registry_auth == "secret13"
    assert back.spec_version.index == 14
    assert back.update_status.message == "manually requested rollback to revision 5"


async def test_only_a_replicated_service_is_rebalanced_and_only_a_job_is_not_stopped(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, rebalance=True)
    begun = await ask(control.UpdateService(request))
    assert begun.HasField("rebalance") and begun.spec_version == made.spec_version
    job = service_spec("job")
    job.replicated_job.total_completions = 1
    job.stopped = True
    await refused(
        control.CreateService(pb.CreateServiceRequest(spec=job)), InvalidSpec, "job is not stopped"
    )
    job.stopped = False
    made = await create(control, job)
    request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, rebalance=True)
    await refused(control.UpdateService(request), InvalidSpec, "not replicated")


async def test_name_and_mode_never_change(control: ControlStub) -> None:
    made = await create(control, service_spec())
    renamed = service_spec("other")
    glob = service_spec()
    getattr(glob, "global").SetInParent()
    for spec, words in ((renamed, "renaming"), (glob, "--mode")):
        request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, spec=spec)
        await refused(control.UpdateService(request), InvalidSpec, words)


async def test_more_than_anybody_types_is_refused(control: ControlStub) -> None:
    """Each value is compared with each object."""
    request = pb.ListTasksRequest(filters=[pb.Filter(key="name", values=["x"] * 50_000)])
    await refused(control.ListTasks(request), InvalidSpec, "50001 keys and values, 10000 at most")
    logs = pb.LogsRequest(selector=pb.LogSelector(task_ids=["x"] * 50_000))
    call = control.ServiceLogs(logs)
    await refused(call.read(), InvalidSpec, "50000 services, tasks and nodes, 10000 at most")
    long = control.GetService(pb.GetRequest(ref="x" * 1_000_000))
    await refused(long, NotFound, "service xxx")
