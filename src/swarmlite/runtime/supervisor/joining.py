"""A process on its way into its namespaces, and who makes it."""

from __future__ import annotations

from swarmlite.kernel.processes import Handover


class Joining:
    """Who was cloned (`maker`), and the sibling that it makes in its place, if any (`pid`).

    The sibling's end may be heard of before that of its maker.
    """

    def __init__(self, maker: int, handover: Handover, *, adopted: bool = False) -> None:
        """`adopted`: it is the maker's child, and ours only once that has ended."""
        self.maker, self._handover, self.adopted = maker, handover, adopted

    @property
    def pid(self) -> int:
        """Of the sibling; 0 before it is born."""
        return self._handover.pid
