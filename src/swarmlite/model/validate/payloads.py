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


@checks.in_one_line
def validate_secret(spec: SecretSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks; no error shows the data."""
    checks.payload_name("secret name", spec.annotations.name, MAX_NAME)
    checks.object_labels("secret", spec.annotations)
    check_secret(spec)
    _size("secret", spec.annotations.name, len(spec.data), MAX_SECRET_BYTES)
    _template("secret", spec.annotations.name, spec.templating.name, spec.data)


@checks.in_one_line
def validate_config(spec: ConfigSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks."""
    checks.payload_name("config name", spec.annotations.name, MAX_NAME)
    checks.object_labels("config", spec.annotations)
    check_config(spec)
    _size("config", spec.annotations.name, len(spec.data), MAX_CONFIG_BYTES)
    _template("config", spec.annotations.name, spec.templating.name, spec.data)


def _template(kind: str, name: str, driver: str, data: bytes) -> None:
    if driver not in ("", "golang"):
        raise InvalidSpec(f"--template-driver {driver[:40]!r}: expected golang")
    if not driver:
        return
    try:
        templates.check_payload(data)
    except InvalidSpec as error:
        # What a secret holds is not quoted.
        why = str(error) if kind == "config" else "is no template that tasks could expand"
        raise InvalidSpec(f"{kind} {name}: {why}") from error


def _size(kind: str, name: str, size: int, limit: int) -> None:
    if not 0 < size < limit:
        raise InvalidSpec(
            f"{kind} {name}: data must be larger than 0 and less than {limit} bytes, it has {size}"
        )
