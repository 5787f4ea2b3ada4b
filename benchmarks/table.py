"""Rows of figures, and how they are printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

NOISY = 0.2


@dataclass(frozen=True)
class Row:
    """One measure: ours, the peer's (None: no peer), the ratio that the goal is about."""

    what: str
    ours: str
    peer: str
    ratio: float | None
    goal: str
    met: bool | None


def ratio_row(what: str, unit: str, ours: float, peer: float, *, at_least: float | None = None,
              at_most: float | None = None) -> Row:  # fmt: skip
    """A row of ours/peer against a goal of at least or at most so much."""
    ratio = ours / peer if peer else float("inf")
    if at_least is not None:
        goal, met = f">= {at_least:g}", ratio >= at_least
    else:
        assert at_most is not None
        goal, met = f"<= {at_most:g}", ratio <= at_most
    return Row(what, f"{ours:.4g} {unit}", f"{peer:.4g} {unit}", ratio, goal, met)


def watched_row(what: str, unit: str, ours: float, peer: float) -> Row:
    """A row with a peer and without a goal."""
    return Row(what, f"{ours:.4g} {unit}", f"{peer:.4g} {unit}", ours / peer, "", None)


NOISE = 0.2
"""Single values that differ by more of their median say more of the machine than of the sides."""


def spread_row(what: str, unit: str, ours: Sequence[float], peer: Sequence[float], *,
               at_least: float | None = None, at_most: float | None = None) -> Row:  # fmt: skip
    """A row of medians, with the least and the most of each side behind them."""
    ratio = median(ours) / median(peer) if median(peer) else float("inf")
    goal, met = "", None
    if at_most is not None:
        goal, met = f"<= {at_most:g}", ratio <= at_most
    if at_least is not None:
        goal, met = f">= {at_least:g}", ratio >= at_least
    return Row(what, _spread(ours, unit), _spread(peer, unit), ratio, goal, met)


def _spread(values: Sequence[float], unit: str) -> str:
    noisy = ", noisy" if max(values) - min(values) > NOISE * median(values) else ""
    return f"{median(values):.3g} {unit} ({min(values):.3g}-{max(values):.3g}{noisy})"


def alone_row(what: str, unit: str, ours: float, *, at_most: float | None = None) -> Row:
    """A row without a peer."""
    goal = f"<= {at_most:g} {unit}" if at_most is not None else ""
    return Row(
        what, f"{ours:.4g} {unit}", "", None, goal, None if at_most is None else ours <= at_most
    )


def alone_spread_row(what: str, unit: str, ours: Sequence[float], *, at_most: float) -> Row:
    """As `spread_row`, without a peer."""
    met = median(ours) <= at_most
    return Row(what, _spread(ours, unit), "", None, f"<= {at_most:g} {unit}", met)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def spread_note(samples: Sequence[float]) -> str:
    """How far the middle half of them lies apart, and whether that is too far to judge."""
    apart = percentile(samples, 0.75) - percentile(samples, 0.25)
    share = apart / median(samples) if median(samples) else 0.0
    noisy = ", too noisy to judge" if share > NOISY else ""
    return f" ({len(samples)} rounds, {100 * share:.0f}% apart{noisy})"


def render(rows: Sequence[Row]) -> str:
    """A table in Markdown."""
    lines = ["| measure | swarmlite | peer | ratio | goal | |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
        met = "" if row.met is None else ("met" if row.met else "MISSED")
        lines.append(f"| {row.what} | {row.ours} | {row.peer} | {ratio} | {row.goal} | {met} |")
    return "\n".join(lines)
