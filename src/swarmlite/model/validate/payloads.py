"""What specs of secrets and configs may say."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.model import templates
from swarmlite.proto.specs_pb2 import ConfigSpec, SecretSpec

from . import checks
from .unsupported import check_config, check_secret

MAX_SECRET_BYTES = 500 * 1024
MAX_CONFIG_BYTES = 1000 * 1024
MAX_NAME = 64


def validate_secret(spec: SecretSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks; no error shows the data."""
    checks.payload_name("secret name", spec.annotations.name, MAX_NAME)
    checks.object_labels("secret", spec.annotations)
    check_secret(spec)
    _template_driver(spec.templating.name)
    _size("secret", spec.annotations.name, len(spec.data), MAX_SECRET_BYTES)
    _template(f"secret {spec.annotations.name}", spec.templating.name, spec.data)


def validate_config(spec: ConfigSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks."""
    checks.payload_name("config name", spec.annotations.name, MAX_NAME)
    checks.object_labels("config", spec.annotations)
    check_config(spec)
    _template_driver(spec.templating.name)
    _size("config", spec.annotations.name, len(spec.data), MAX_CONFIG_BYTES)
    _template(f"config {spec.annotations.name}", spec.templating.name, spec.data)


def _template_driver(name: str) -> None:
    if name not in ("", "golang"):
        raise InvalidSpec(f"--template-driver {name[:40]!r}: expected golang")


def _template(where: str, driver: str, data: bytes) -> None:
    """What no task could expand is refused here, and not by every task in turn."""
    if driver:
        try:
            templates.check_payload(data)
        except InvalidSpec as error:
            raise InvalidSpec(f"{where}: {error}") from error


def _size(kind: str, name: str, size: int, limit: int) -> None:
    if not 0 < size < limit:
        raise InvalidSpec(
            f"{kind} {name}: data must be larger than 0 and less than {limit} bytes, it has {size}"
        )
