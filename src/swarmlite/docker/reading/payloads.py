"""Specs of secrets and configs."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.proto.specs_pb2 import ConfigSpec, SecretSpec

from .task import driver
from .values import data


def secret_spec(sent: Fields) -> SecretSpec:
    """Name, Labels, Data, Driver, Templating. No error shows the data."""
    spec = SecretSpec(data=data(sent, "Data"))
    spec.annotations.name = sent.text("Name")
    spec.annotations.labels.update(sent.mapping("Labels"))
    driver(sent.object("Driver"), spec.driver)
    driver(sent.object("Templating"), spec.templating)
    return spec


def config_spec(sent: Fields) -> ConfigSpec:
    """Name, Labels, Data, Templating."""
    spec = ConfigSpec(data=data(sent, "Data"))
    spec.annotations.name = sent.text("Name")
    spec.annotations.labels.update(sent.mapping("Labels"))
    driver(sent.object("Templating"), spec.templating)
    return spec
