"""Tables, templates and human words, exactly."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.cli.output import human
from swarmlite.cli.output.gotemplate import Template
from swarmlite.cli.output.omitted import OMITTED
from swarmlite.cli.output.table import render
from swarmlite.cli.output.tasks import LISTING, rows
from swarmlite.errors import InvalidSpec
from swarmlite.model import task_states
from swarmlite.model.naturally import naturally
from swarmlite.proto.objects_pb2 import Task


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (48 * 3600, "2 days"),
        (15 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations_are_docker_s(seconds: float, text: str) -> None:
    assert human.duration(seconds) == text


def test_tables_are_padded_as_docker_pads_them() -> None:
    assert render([["ID", "NAME", "X"], ["0123456789ab", "web", ""]]) == (
        "ID             NAME      X\n0123456789ab   web       \n"
    )


def _task(slot: int, created: int, state: int, desired: int, err: str = "") -> Task:
    task = Task(id=f"{created:025d}", service_id="s", slot=slot, node_id="n")
    task.spec.container.image = "nginx:1@sha256:00"
    task.meta.created_at.seconds = created
    task.status.timestamp.seconds = created
    task.status.state = state  # type: ignore[assignment]
    task.desired_state = desired  # type: ignore[assignment]
    task.status.err = err
    return task


def test_a_slot_s_history_hangs_below_it() -> None:
    tasks = [
        _task(10, 3, task_states.RUNNING, task_states.RUNNING),
        _task(2, 1, task_states.FAILED, task_states.SHUTDOWN, "task: non-zero exit (1) and more"),
        _task(2, 2, task_states.RUNNING, task_states.RUNNING),
    ]
    made = rows(tasks, {"s": "web"}, {"n": "alpha"}, now=63)
    lines = LISTING.render(made).splitlines()
    assert [line[15:27].rstrip() for line in lines[1:]] == ["web.2", " \\_ web.2", "web.10"]
    assert '"task: non-zero exit (1) and m…"' in lines[2]
    assert "Failed about a minute ago" in lines[2]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "web"),
        ("{{ .Spec.Image | upper }}", "NGINX"),
        ("{{json .Labels}}", '{"a":"1","b":""}'),
        ("{{range .Ports}}{{.}},{{end}}", "80,81,"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=;"),
        ("{{if .Labels}}yes{{else}}no{{end}}", "yes"),
        ("{{if eq .Name `x`}}1{{else if eq .Name `web`}}2{{else}}3{{end}}", "2"),
        ("{{with .Spec}}{{.Image}}{{end}}", "nginx"),
        ('{{index .Labels "a"}}{{.Labels.none}}', "1<no value>"),
        ("{{len .Ports}} {{join .Ports `/`}}", "2 80/81"),
        ('{{printf "%-6s|" .Name}}', "web   |"),
        ("a {{- .Name -}} b", "aweb b".replace(" b", "b")),
        ("{{/* nothing */}}{{.Ports}}", "[80 81]"),
        ("{{$x := .Name}}{{$x}}{{(index .Ports 1)}}", "web81"),
        ("{{println .Name}}", "web\n"),
        ("{{and true .Name}} {{not .Labels}}", "web false"),
    ],
)
def test_templates_as_go_renders_them(template: str, text: str) -> None:
    data = {
        "Name": "web",
        "Spec": {"Image": "nginx"},
        "Labels": {"a": "1", "b": ""},
        "Ports": [80, 81],
    }
    assert Template(template).render(data) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "{{.Name",
        "{{end}}",
        "{{if .Name}}",
        "{{nope}}",
        "{{.Nope}}",
        "{{}}",
        "{{(}}",
        "{{.Name.X}}",
    ],
)
def test_bad_templates_say_so(template: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^template parsing error: "):
        Template(template).render({"Name": "web"})


OBJECT = {"Id": "1", "State": {"Running": True}, "Config": {"Labels": {}, "Tags": {"A": "1"}}}


@pytest.mark.parametrize("template", ["{{.Nope}}", "{{.State.Nope}}", "{{.Config.Nope.X}}"])
def test_a_field_that_no_object_has_is_an_error_as_in_docker(template: str) -> None:
    """Of `inspect` and `info` too, which printed `<no value>`."""
    with pytest.raises(InvalidSpec, match=r"^template parsing error: can't evaluate field Nope"):
        Template(template, omitted=OMITTED).render(OBJECT)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ("{{.SizeRw}}", "<no value>"),
        ("{{.Config.Labels.App}}", "<no value>"),
        ("{{.Config.Tags.lower}}", "<no value>"),
    ],
)
def test_what_may_be_missing_is_none(template: str, text: str) -> None:
    """Docker's JSON leaves empty fields out; a key of labels is nobody's field."""
    assert Template(template, omitted=OMITTED).render(OBJECT) == text


@given(st.text(alphabet='{}.| "$`()abN:=-\n', max_size=40))
def test_no_template_ends_in_anything_but_text_or_one_line(text: str) -> None:
    try:
        Template(text).render({"N": "x", "A": {"b": 1}})
    except InvalidSpec as error:
        assert "\n" not in str(error) or "\n" in text


def test_images_are_shown_without_their_digest_when_they_have_a_tag() -> None:
    assert human.familiar_image("r:5000/a@sha256:1") == "r:5000/a@sha256:1"
    assert human.familiar_image("r:5000/a:2@sha256:1") == "r:5000/a:2"


def test_names_sort_as_people_count() -> None:
    assert sorted(["w10", "w2", "a"], key=naturally) == ["a", "w2", "w10"]


def test_ago_never_lies_in_the_future() -> None:
    assert human.ago(Timestamp(seconds=100), now=50) == "Less than a second ago"


def test_the_newest_task_comes_first_though_a_clock_stepped_back() -> None:
    tasks = []
    for number, (revision, created) in enumerate(((10, 5000), (20, 1400))):
        task = Task(id=f"t{number}", service_id="s", slot=1)
        task.meta.created_version.index = revision
        task.meta.created_at.seconds = created
        tasks.append(task)
    listed = rows(tasks, {"s": "web"}, {}, no_trunc=True, now=6000.0)
    assert [row["ID"] for row in listed] == ["t1", "t0"]
