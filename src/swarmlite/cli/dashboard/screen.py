"""The screen of `swarmlite top`: three tables, and keys that lead to logs and to a shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane

from swarmlite.cli.dashboard.follow import Follower
from swarmlite.cli.dashboard.logs import LogScreen
from swarmlite.cli.dashboard.picture import COLUMNS, ORDERS, Row
from swarmlite.cli.session import Session
from swarmlite.model import task_states

REFRESH_S = 0.5
TABLES = tuple(COLUMNS)


class Dashboard(App[None]):
    """`shell` runs one in a task, by its id, on the terminal that it is given for it."""

    TITLE = "swarmlite top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #said { height: 1; padding: 0 1; background: $panel; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar = [
        Binding("1", "table('nodes')", "Nodes"),
        Binding("2", "table('services')", "Services"),
        Binding("3", "table('tasks')", "Tasks"),
        Binding("o", "order", "Order"),
        Binding("l", "logs", "Logs"),
        Binding("s", "shell", "Shell"),
        Binding("escape", "all", "All tasks", show=False),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, session: Session, shell: Callable[[str], None]) -> None:
        super().__init__()
        self._session, self._run_shell = session, shell
        self._follower = Follower(session)
        self._order = "name"
        self._only = ""

    def compose(self) -> ComposeResult:
        """A line of what there is, the tables, the keys."""
        with Vertical():
            yield Static(id="said", markup=False)
            with TabbedContent(initial="services"):
                for table in TABLES:
                    with TabPane(table.capitalize(), id=table):
                        yield DataTable(id=f"{table}-table", cursor_type="row")
            yield Footer()

    def on_mount(self) -> None:
        """Begin to follow the cluster."""
        for table in TABLES:
            self._table(table).add_columns(*((name, name) for name in COLUMNS[table]))
        self._follower.start()
        self.set_interval(REFRESH_S, self.draw)
        self.action_table("services")

    def on_unmount(self) -> None:
        """End what was begun."""
        self._follower.stop()

    def draw(self) -> None:
        """Show what the picture is now, the cursor on the same object as before."""
        with self._follower.lock:
            picture = self._follower.picture
            rows = {table: picture.rows(table, self._order, self._only) for table in TABLES}
            counts = len(picture.nodes), len(picture.services), len(picture.live())
            troubles = sorted(set(picture.troubles.values()))
            whose = self._whose()
        for table, made in rows.items():
            _fill(self._table(table), made)
        said = "{} nodes, {} services, {} tasks".format(*counts) + f"   by {self._order}"
        parts = [said, *([f"tasks of {whose}: Esc shows all"] if whose else []), *troubles[:1]]
        self.query_one("#said", Static).update("   ".join(parts))

    def action_table(self, name: str) -> None:
        """Go to a table."""
        self.query_one(TabbedContent).active = name
        self._table(name).focus()

    def action_order(self) -> None:
        """By name, CPU, memory, network."""
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self.draw()

    def action_all(self) -> None:
        """Every task again."""
        self._only = ""
        self.draw()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter shows the tasks of a node or service, and the logs of a task."""
        key = str(event.row_key.value)
        if self._shown() == "tasks":
            self.action_logs()
            return
        self._only = key
        self.draw()
        self.action_table("tasks")

    def action_logs(self) -> None:
        """The logs of the task or service at the cursor."""
        key, table = self._at_cursor(), self._shown()
        if not key or table == "nodes":
            self.notify("logs are of a task or a service")
            return
        self.push_screen(LogScreen(self._session, key, of_service=table == "services"))

    def action_shell(self) -> None:
        """A shell in the task at the cursor, or in the first one that runs of what is there."""
        task = self._task_at_cursor()
        if not task:
            self.notify("no task runs there")
            return
        with self.suspend():
            self._run_shell(task)
        self.refresh(layout=True)

    def _task_at_cursor(self) -> str:
        key = self._at_cursor()
        with self._follower.lock:
            for task in self._follower.picture.live():
                is_there = key in (task.id, task.service_id, task.node_id)
                if key and is_there and task.status.state == task_states.RUNNING:
                    return task.id
        return ""

    def _whose(self) -> str:
        picture = self._follower.picture
        if self._only in picture.nodes:
            return picture.nodes[self._only].description.hostname
        if self._only in picture.services:
            return picture.services[self._only].spec.annotations.name
        return ""

    def _shown(self) -> str:
        return str(self.query_one(TabbedContent).active)

    def _table(self, name: str) -> DataTable[Text]:
        return self.query_one(f"#{name}-table", DataTable)

    def _at_cursor(self) -> str:
        return _key_at_cursor(self._table(self._shown()))


def _key_at_cursor(table: DataTable[Text]) -> str:
    if not table.is_valid_coordinate(table.cursor_coordinate):
        return ""
    return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)


def _fill(table: DataTable[Text], rows: Sequence[Row]) -> None:
    """Cells that changed where the rows are the same ones; all of them elsewhere."""
    if [str(key.value) for key in table.rows] == [row.key for row in rows]:
        for row in rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if table.get_cell(row.key, column).plain != cell:
                    table.update_cell(row.key, column, _text(cell), update_width=True)
        return
    here, top = _key_at_cursor(table), table.scroll_offset.y
    table.clear()
    for row in rows:
        table.add_row(*map(_text, row.cells), key=row.key)
    if here in table.rows:
        table.move_cursor(row=table.get_row_index(here), animate=False, scroll=False)
        table.scroll_to(y=top, animate=False)


def _text(cell: str) -> Text:
    """Not markup: names and errors are anybody's."""
    return Text(cell, no_wrap=True)
