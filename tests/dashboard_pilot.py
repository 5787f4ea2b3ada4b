"""What is on the screen of `swarmlite top`, for tests that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from textual.widgets import DataTable, RichLog, Static


class Watched:
    """An app that runs under textual's pilot."""

    def __init__(self, app: Any, pilot: Any) -> None:
        self._app, self._pilot = app, pilot

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.05)
            await self._pilot.pause()

    def column(self, table: str, index: int) -> list[str]:
        found = self._table(table)
        return [found.get_row_at(i)[index].plain for i in range(found.row_count)]

    def at_cursor(self, table: str) -> str:
        found = self._table(table)
        return str(found.coordinate_to_cell_key(found.cursor_coordinate).row_key.value)

    def said(self) -> str:
        return str(self._app.query_one("#said", Static).content)

    def log(self) -> str:
        found = self._app.screen.query(RichLog)
        return "\n".join(line.text for log in found for line in log.lines)

    def _table(self, table: str) -> Any:
        return self._app.query_one(f"#{table}-table", DataTable)
