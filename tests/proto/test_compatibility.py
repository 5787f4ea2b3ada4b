"""Releases read what earlier ones wrote, and understand what earlier ones send."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from compatibility import FIELDS, STORED, messages, shape
from google.protobuf import text_format

from swarmlite.manager.store.api import type_of_kind
from swarmlite.manager.store.sealing import StoreKey, StoreKeys

PROMISED: dict[str, dict[str, list[Any]]] = json.loads(FIELDS.read_text())
WRITTEN: dict[str, dict[str, str]] = json.loads(STORED.read_text())


def test_no_field_that_was_promised_has_changed_or_gone() -> None:
    known = messages()
    broken = []
    for name, promised in PROMISED.items():
        for field_name, promise in promised.items():
            field = known[name].fields_by_name.get(field_name) if name in known else None
            if field is None:
                broken.append(f"{name}.{field_name} is gone: reserve its number and its name")
            elif shape(field) != promise:
                broken.append(f"{name}.{field_name} is {shape(field)}, and was {promise}")
    assert broken == []


@pytest.mark.parametrize("kind", sorted(WRITTEN))
def test_objects_that_an_earlier_release_wrote_are_read_whole(kind: str) -> None:
    obj = type_of_kind[kind].FromString(base64.b64decode(WRITTEN[kind]["bytes"]))  # type: ignore[attr-defined]
    expected = text_format.Parse(WRITTEN[kind]["text"], type_of_kind[kind]())
    assert obj == expected
    unknown = base64.b64decode(WRITTEN[kind]["bytes"])
    assert type_of_kind[kind].FromString(obj.SerializeToString()) == obj  # type: ignore[attr-defined]
    assert len(obj.SerializeToString(deterministic=True)) == len(unknown)


def test_what_an_earlier_release_sealed_is_opened() -> None:
    keys = StoreKeys([StoreKey(bytes(range(8)), bytes(range(32)))])
    assert keys.open(b"/swarmlite/v1/secret/one", base64.b64decode(SEALED)) == b"hunter2"


SEALED = "AAEAAQIDBAUGBytskD/hxDdK2//dqmndxDNlqlTsZRhc5k3141JMta2buZ3h"
