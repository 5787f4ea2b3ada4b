"""What a release has promised of its messages: run it to write the promise of today's.

`python tests/proto/compatibility.py` writes fields.json (every field of every message: its number,
type and whether it repeats) and stored.json (one object of each kind, as it lies in the store).
What is there already stays as it is: later releases read what earlier ones wrote.
"""

from __future__ import annotations

import base64
import importlib
import json
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from swarmlite import proto

HERE = Path(__file__).parent
FIELDS, STORED = HERE / "fields.json", HERE / "stored.json"
DEPTH = 4


def messages() -> dict[str, Descriptor]:
    """Every message of the package, nested ones too."""
    found: dict[str, Descriptor] = {}
    for path in sorted(Path(proto.__file__).parent.glob("*.proto")):
        module = importlib.import_module(f"swarmlite.proto.{path.stem}_pb2")
        pending = list(module.DESCRIPTOR.message_types_by_name.values())
        while pending:
            message = pending.pop()
            found[message.full_name] = message
            pending.extend(message.nested_types)
    return found


def shape(field: FieldDescriptor) -> list[Any]:
    """What may not change of a field."""
    named = field.message_type or field.enum_type
    repeated = field.label == FieldDescriptor.LABEL_REPEATED
    return [field.number, field.type, repeated, named.full_name if named else ""]


def fields() -> dict[str, dict[str, list[Any]]]:
    return {
        name: {field.name: shape(field) for field in message.fields}
        for name, message in sorted(messages().items())
    }


def filled(message: Message, depth: int = DEPTH) -> Message:
    """Every field set that can be told from its default, some levels deep."""
    for field in message.DESCRIPTOR.fields:
        _fill(message, field, depth)
    return message


def _fill(message: Message, field: FieldDescriptor, depth: int) -> None:
    repeated = field.label == FieldDescriptor.LABEL_REPEATED
    value = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        kind = field.message_type.fields_by_name["value"]
        if kind.message_type:
            value["key"].SetInParent()
        else:
            value["key"] = _scalar(kind)
    elif field.message_type:
        if depth > 0:
            filled(value.add() if repeated else value, depth - 1)
    elif repeated:
        value.append(_scalar(field))
    elif field.containing_oneof is None or message.WhichOneof(field.containing_oneof.name) is None:
        setattr(message, field.name, _scalar(field))


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type:
        return field.enum_type.values[-1].number
    kinds = {
        FieldDescriptor.CPPTYPE_STRING: field.name.encode()
        if field.type == FieldDescriptor.TYPE_BYTES
        else field.name,
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: 1.5,
        FieldDescriptor.CPPTYPE_FLOAT: 1.5,
    }
    return kinds.get(field.cpp_type, field.number)


def main() -> None:
    from google.protobuf import text_format

    from swarmlite.manager.store.api import type_of_kind

    known = json.loads(FIELDS.read_text()) if FIELDS.exists() else {}
    for name, each in fields().items():
        known[name] = {**each, **known.get(name, {})}
    lines = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in sorted(known.items()))
    FIELDS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    if not STORED.exists():
        objects = {kind: filled(message()) for kind, message in type_of_kind.items()}
        stored = {
            kind: {
                "bytes": base64.b64encode(obj.SerializeToString(deterministic=True)).decode(),
                "text": text_format.MessageToString(obj, as_one_line=True),
            }
            for kind, obj in objects.items()
        }
        STORED.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
