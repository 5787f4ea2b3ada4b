"""Go's templates as Swarm's users write them."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.errors import InvalidSpec
from swarmlite.model import names, templates
from swarmlite.model.validate import validate_config, validate_secret
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import ConfigSpec, ContainerSpec, SecretSpec
from swarmlite.proto.types_pb2 import Mount


def task(slot: int = 3) -> Task:
    made = Task(id="t1", service_id="s1", slot=slot, node_id="n1")
    made.service_annotations.name = "web"
    made.service_annotations.labels["tier"] = "front"
    made.spec.container.env.append("MODE=fast")
    return made


def node() -> Node:
    made = Node(id="n1")
    made.description.hostname = "alpha"
    made.description.platform.os = "linux"
    made.description.platform.architecture = "amd64"
    return made


CONTEXT = templates.context_of(task(), node())


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("{{.Service.Name}}-{{.Task.Slot}}", "web-3"),
        ("{{ .Service.ID }}/{{ .Node.ID }}/{{ .Task.ID }}", "s1/n1/t1"),
        ("{{.Node.Hostname}}:{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}",
         "alpha:linux/amd64"),
        ("{{.Task.Name}}", "web.3.t1"),
        ('{{index .Service.Labels "tier"}}', "front"),
        ("{{.Service.Labels.tier}}{{.Service.Labels.none}}", "front"),
        ("a {{- .Task.Slot -}} b", "a3b"),
        ("{{/* a note */}}x", "x"),
        ('{{"a}b"}}', "a}b"),
        ('{{"a}}b"}}{{`}}`}}', "a}}b}}"),
        ("{{/* }} */}}x{ {y}}", "x{ {y}}"),
        ("a\n{{- .Task.Slot -}}\n  {{- .Task.Slot}}\n", "a33\n"),
        ('{{if eq .Task.Slot "3"}}three{{else}}other{{end}}', "three"),
        ('{{if .Service.Labels.none}}a{{else if eq .Task.Slot "3" "4"}}b{{else}}c{{end}}', "b"),
        ("{{range $key, $value := .Service.Labels}}{{$key}}={{$value}};{{end}}", "tier=front;"),
        ("{{range 3}}{{.}}{{end}}{{range 0}}x{{else}}none{{end}}", "012none"),
        ("{{range 9}}{{if eq . 1}}{{continue}}{{end}}{{if gt . 3}}{{break}}{{end}}{{.}}{{end}}",
         "023"),
        ("{{with .Node}}{{.Hostname}} of {{$.Service.Name}}{{end}}", "alpha of web"),
        ("{{with $x := .Service.Labels.none}}a{{else}}b{{end}}", "b"),
        ("{{$a := 1}}{{if true}}{{$a = 2}}{{$a := 3}}{{end}}{{$a}}", "2"),
        ('{{printf "%s-%03d|%-4s|%q" .Service.Name 7 "a" "b"}}', 'web-007|a   |"b"'),
        ('{{.Service.Name | printf "%s.%s" "x" | len}}', "5"),
        ("{{len (index .Service.Labels \"tier\")}}", "5"),
        ('{{if and (ne .Task.Slot "1") (or false (not false))}}y{{end}}', "y"),
        ("{{slice .Node.Hostname 1 3}} {{print 1 2}} {{1.5}} {{true}}", "lp 1 2 1.5 true"),
        ("{{(index .Service.Labels \"tier\")}} {{.Service.Labels}}", "front map[tier:front]"),
    ],
)  # fmt: skip
def test_a_template_expands(text: str, expanded: str) -> None:
    assert templates.expand(text, CONTEXT) == expanded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{.Service.Nam}}", "no such variable"),
        ("{{.Task.Slot", "not closed"),
        ("{{}}", "empty"),
        ('{{"a}}', "not closed"),
        ("{{.Task.Slot" + " " * 5000 + "}}", "not closed within 4096"),
        ("{{.Task.Slot}}" * 10_001, "more than 10000 actions"),
        ("{{.Task.Slot}}" + "x" * 1024 * 1024, "1048576 at most"),
        ("{{if .Task.Slot}}x", "if has no end"),
        ("{{end}}", "unexpected end"),
        ("{{if .Task.Slot}}{{else foo}}{{end}}", "expected else, else if"),
        ('{{template "x"}}', "template is not supported"),
        ("{{.Task.Slot | .Task.Slot}}", "unknown function"),
        ("{{$x}}", "undefined variable"),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "undefined variable"),
        ("{{break}}", "outside of range"),
        ("{{(len .Task.Slot}}", "unclosed"),
        ("{{if true}}" * 40 + "{{end}}" * 40, "nested deeper than 32"),
        ("{{" + "(" * 40 + "1" + ")" * 40 + "}}", "nested deeper than 32"),
        ('{{env "X"}}', "unknown function 'env'"),
        ("{{index .Node.Labels 3}}", "no such variable"),
        ("{{with .Node}}{{$.Node.Labels}}{{end}}", "no such variable"),
    ],
)
def test_what_is_not_known_is_refused_and_quoted(text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        templates.check(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{if eq .Task.Slot 3}}x{{end}}", "incompatible types"),
        ("{{range .Task.Name}}x{{end}}", "range takes a mapping or a number"),
        ("{{range 1000000000}}x{{end}}", "more than 10000 actions"),
        ("{{range 90}}{{range 90}}{{range 90}}{{end}}{{end}}{{end}}", "more than 10000 actions"),
        ("{{slice .Task.Name 0 50}}", "numbers within it"),
        ("{{len}}", "wrong number or type"),
        ('{{$x := "ab"}}{{range 100}}{{$x = print $x $x}}{{end}}', "more than 1048576 characters"),
        ('{{$x := "ab"}}{{range 18}}{{$x = print $x $x}}{{end}}{{range 99}}{{$x | len}}{{end}}',
         "look at more than"),
        ('{{with .Node}}{{.Hostname.X}}{{end}}', "there is no such field"),
        ('{{printf "%999d%999d" 1 2 | len | printf "%s" | index "abc"}}', "out of range, or of"),
    ],
)  # fmt: skip
def test_what_goes_wrong_when_it_is_run_is_quoted_and_bounded(text: str, words: str) -> None:
    templates.check(text)
    with pytest.raises(InvalidSpec, match=words):
        templates.expand(text, CONTEXT)


def test_a_global_services_slot_is_its_node() -> None:
    context = templates.context_of(task(slot=0), node())
    assert templates.expand("{{.Task.Slot}} {{.Task.Name}}", context) == "n1 web.n1.t1"


def test_containers_expand_in_hostname_env_and_mounts_and_nowhere_else() -> None:
    spec = ContainerSpec(hostname="{{.Service.Name}}", env=["N={{.Task.Slot}}"])
    spec.args.append("{{.Task.Slot}}")
    mount = spec.mounts.add(type=Mount.VOLUME, source="v-{{.Task.Slot}}", target="/d/{{.Node.ID}}")
    mount.volume_options.labels["slot"] = "{{.Task.Slot}}"
    mount.volume_options.driver_config.options["o"] = "{{.Node.Hostname}}"
    expanded = templates.expand_container(spec, CONTEXT)
    assert (expanded.hostname, list(expanded.env)) == ("web", ["N=3"])
    assert (expanded.mounts[0].source, expanded.mounts[0].target) == ("v-3", "/d/n1")
    assert expanded.mounts[0].volume_options.labels["slot"] == "3"
    assert expanded.mounts[0].volume_options.driver_config.options["o"] == "alpha"
    assert list(expanded.args) == ["{{.Task.Slot}}"]
    assert spec.hostname == "{{.Service.Name}}"


def test_payloads_see_secrets_configs_and_the_environment() -> None:
    context = templates.payload_context(task(), node(), {"key": b"hush"}, {"conf": b"\xff"})
    data = b'{{secret "key"}} {{config "conf"}} {{env "MODE"}}{{env "NONE"}}'
    assert templates.expand_payload(data, context) == b"hush \xff fast"
    varied = task()
    varied.spec.container.env.append("WHERE=on {{.Node.Hostname}}")
    context = templates.payload_context(varied, node(), {}, {})
    assert templates.expand_payload(b'{{env "WHERE"}}', context) == b"on alpha"
    with pytest.raises(InvalidSpec, match="no secret 'other'"):
        templates.expand_payload(b'{{secret "other"}}', context)


@pytest.mark.parametrize(
    "text",
    ["{{" * 500_000, "{{\"" * 300_000, "{{- " * 250_000, ' "' * 500_000 + "{{", "{{`" * 300_000,
     "{{/*" * 250_000, "{{x}}" + " " * 1_000_000, '{{"\\"' * 200_000],
)  # fmt: skip
def test_scanning_looks_at_each_character_once(text: str) -> None:
    """What is quadratic takes minutes for these, and pytest's timeout ends it."""
    with pytest.raises(InvalidSpec) as refused:
        templates.check(text)
    assert len(str(refused.value)) < 400


def test_what_multiplies_is_refused_while_it_grows() -> None:
    labels = {"big": "x" * 100_000}
    context = templates.Context(CONTEXT.fields, labels)
    text = '{{index .Service.Labels "big"}}' * 9000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidSpec, match="more than 1048576 characters"):
            templates.expand(text, context)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    spec = ContainerSpec(env=['A={{index .Service.Labels "big"}}'] * 1000)
    with pytest.raises(InvalidSpec, match="more than 1048576 characters"):
        templates.expand_container(spec, context)


@pytest.mark.parametrize("kind", ["secret", "config"])
def test_a_payload_that_no_task_could_expand_is_refused_at_create(kind: str) -> None:
    validate = {"secret": validate_secret, "config": validate_config}[kind]
    spec = {"secret": SecretSpec, "config": ConfigSpec}[kind]()
    spec.annotations.name = "nginx"
    spec.templating.name = "golang"
    spec.data = b'{{env "PORT"}} {{secret "key"}} {{config "c"}} {{.Task.Slot}}'
    validate(spec)  # type: ignore[operator]
    spec.data = b"{{range .Things}}hush{{end}}{{if secret `key` | eq `x`}}{{end}}"
    with pytest.raises(InvalidSpec, match=f"{kind} nginx: ") as refused:
        validate(spec)  # type: ignore[operator]
    assert "hush" not in str(refused.value)
    assert ("no such variable" in str(refused.value)) == (kind == "config")
    spec.templating.name = ""
    validate(spec)  # type: ignore[operator]


@given(st.text())
def test_any_text_expands_or_is_refused(text: str) -> None:
    try:
        templates.check(text)
    except InvalidSpec:
        assert "{{" in text


@given(st.binary())
def test_payloads_without_actions_stay_as_they_are(data: bytes) -> None:
    if b"{{" not in data:
        context = templates.payload_context(task(), node(), {}, {})
        assert templates.expand_payload(data, context) == data


def test_containers_are_named_and_labelled_as_in_swarm() -> None:
    made = task()
    made.spec.container.labels["com.docker.swarm.task.id"] = "forged"
    assert names.container_name(made) == "web.3.t1"
    assert names.short_task_name(made) == "web.3"
    labels = names.container_labels(made)
    assert labels["com.docker.swarm.task.id"] == "t1"
    assert labels["com.docker.swarm.service.name"] == "web"
