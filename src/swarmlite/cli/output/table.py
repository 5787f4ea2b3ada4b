"""Tables as Docker's: columns of at least ten characters, three spaces between, the last ragged."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` and `collections` take longer to load than this module
if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_WIDTH, PADDING = 10, 3


def render(rows: Sequence[Sequence[str]], *, min_width: int = MIN_WIDTH) -> str:
    """Rows of equally many cells (the first is the header) as lines, each with its newline."""
    if not rows:
        return ""
    widths = [
        max(min_width, max(len(row[column]) for row in rows) + PADDING)
        for column in range(len(rows[0]) - 1)
    ]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        + row[-1]
        + "\n"
        for row in rows
    )
