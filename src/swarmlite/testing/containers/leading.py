"""Which engine testcontainers speaks to, for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def leading_to(url: str, address: str) -> Iterator[None]:
    """DOCKER_HOST is `url`, whose published ports answer at `address`; without the reaper.

    testcontainers reads the address's variable when it is imported, and never again: what was
    imported for another engine would go on asking there. Its reaper's image is on Docker Hub.
    """
    from testcontainers.core.config import testcontainers_config

    variables = {"DOCKER_HOST": url, "TC_HOST": address, "TESTCONTAINERS_HOST_OVERRIDE": address}
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(testcontainers_config, "tc_host_override", address),
        mock.patch.object(testcontainers_config, "_ryuk_disabled", True),
    ):
        yield
