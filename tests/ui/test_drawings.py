"""Pictures of networks and of the last hour: what is on them, and that they are bounded."""

from __future__ import annotations

from swarmlite.proto.control_pb2 import TaskFigures
from swarmlite.proto.objects_pb2 import Network, Service, Task
from swarmlite.ui import drawing, plots


def network(name: str, ingress: bool = False) -> Network:
    made = Network(id=f"n-{name}")
    made.spec.annotations.name, made.spec.ingress = name, ingress
    return made


def service(name: str, *targets: str, port: int = 0) -> Service:
    made = Service(id=f"s-{name}")
    made.spec.annotations.name = name
    for target in targets:
        made.spec.task.networks.add(target=target)
    if port:
        made.endpoint.ports.add(published_port=port)
    return made


def task(of: Service, slot: int, on: Network) -> Task:
    made = Task(id=f"t-{of.id}-{slot}", service_id=of.id, slot=slot)
    made.service_annotations.name = of.spec.annotations.name
    made.networks.add(network_id=on.id)
    return made


def joined(picture: drawing.Drawing) -> set[tuple[str, str]]:
    """The names at both ends of each line."""
    reach = drawing.WIDTH + drawing.GAP
    at = {(word.x // reach, word.y - 4): word.text for word in picture.words}
    return {(at[x1 // reach, y1], at[x2 // reach, y2]) for x1, y1, x2, y2 in picture.lines}


def test_services_are_joined_with_the_networks_that_they_are_on_by_id_or_by_name() -> None:
    networks = [network("back"), network("front"), network("ingress", ingress=True)]
    services = [
        service("db", "back"), service("web", "n-front", "back", port=80), service("alone"),
        service("job", "gone"),
    ]  # fmt: skip
    picture = drawing.of_networks(networks, services)
    assert joined(picture) == {
        ("db", "back"), ("web", "back"), ("web", "front"), ("web", "ingress"),
    }  # fmt: skip
    assert {word.text for word in picture.words} == {"db", "web", "back", "front", "ingress"}
    assert (picture.width, picture.height) == (600, 3 * drawing.LINE_HEIGHT)


def test_of_one_network_its_tasks_are_joined_with_their_services() -> None:
    """A service without a task is there too, and a task of no service, which nothing joins."""
    back, other = network("back"), network("other")
    web, db, late = service("web", "back"), service("db", "back"), service("late", "back")
    lone = Task(id="t-lone")
    lone.annotations.name = "shell"
    lone.networks.add(network_id=back.id)
    tasks = [task(web, 2, back), task(db, 1, back), task(web, 1, back), task(web, 3, other), lone]
    picture = drawing.of_network(back, [db, late, web], tasks)
    assert joined(picture) == {
        ("db.1", "db"), ("web.1", "web"), ("web.2", "web"),
        ("db", "back"), ("late", "back"), ("web", "back"),
    }  # fmt: skip
    left = [word.text for word in picture.words if word.anchor == "end"]
    assert left == ["db.1", "web.1", "web.2", "shell"]
    assert {word.href for word in picture.words if word.text == "web.1"} == {"/ui/task/t-s-web-1"}


def test_a_picture_of_much_is_bounded_and_says_how_much_it_leaves_out() -> None:
    back = network("x" * 60)
    web = service("web", back.id)
    picture = drawing.of_network(back, [web], [task(web, slot, back) for slot in range(1, 1001)])
    assert picture.height == drawing.MAX_DRAWN * drawing.LINE_HEIGHT
    assert picture.left == 1000 - drawing.MAX_DRAWN
    assert len(picture.lines) == drawing.MAX_DRAWN + 1
    assert picture.words[-1].shown == "x" * (drawing.MAX_LETTERS - 1) + "…"


def figures(name: str, *cpus: float) -> TaskFigures:
    """The last of them now, each a minute after the one before."""
    made = TaskFigures(task_id=name)
    for ago, each in reversed(list(enumerate(reversed(cpus)))):
        made.figures.add(minutes_ago=ago, cpus=each, memory_bytes=int(each * 1e6))
    return made


def test_an_hour_is_drawn_as_a_line_a_task_with_what_all_of_them_use_together() -> None:
    made = plots.plots([figures("a", 0.5, 1.0, 0.25), figures("b", 0.0, 0.5, 0.5)], {"a": "web.1"})
    assert [plot.title for plot in made] == [
        "Processors", "Memory", "Received a second", "Sent a second",
    ]  # fmt: skip
    processors, memory = made[:2]
    # The minute that goes on may lack some: it is not shown as a fall.
    assert (processors.now, processors.most) == ("1.50", "1.50")
    assert (memory.now, memory.most) == ("1.5 MB", "1.5 MB")
    assert [line.name for line in processors.lines] == ["web.1", "b"]
    assert processors.lines[0].points == "290,30.0 295,0.0 300,45.0 300,45.0"
    assert plots.plots([], {}) == []


def test_of_many_tasks_those_that_used_most_are_drawn() -> None:
    made = plots.plots([figures(f"t{n}", float(n)) for n in range(100)], {})
    assert [line.name for line in made[0].lines] == [f"t{n}" for n in range(99, 79, -1)]
    assert len(made[0].lines) == plots.MAX_LINES


def test_sizes_are_written_as_docker_writes_them() -> None:
    assert [plots.size(n) for n in (0, 999, 1500, 2e6, 3.21e9, 5e15)] == [
        "0 B", "999 B", "1.5 kB", "2 MB", "3.21 GB", "5e+03 TB",
    ]  # fmt: skip
