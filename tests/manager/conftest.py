"""The simulation counts ids where the orchestrator draws them; each test gives them back."""

from __future__ import annotations

import pytest

from swarmlite.manager.orchestrator import task as task_module


@pytest.fixture(autouse=True)
def ids_are_random_again(monkeypatch):
    monkeypatch.setattr(task_module, "new_id", task_module.new_id)
