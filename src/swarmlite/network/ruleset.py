"""A table of nftables as data: what is desired, and the transaction that leads there from what is.

Pure. A table has a fixed skeleton (its base chains and the declarations of its sets and maps) and
members that come and go: elements of sets, elements of maps, and chains with their rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Members:
    """The changing part of a table; keys, values and rules in nft's words."""

    sets: dict[str, frozenset[str]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, str] = field(default_factory=dict)
    """Name to rules, a line each; an empty text is a chain that falls through."""


@dataclass(frozen=True)
class Table:
    """`header` as "ip swarmlite"; `skeleton` the text between its braces."""

    header: str
    skeleton: str

    def load(self, wanted: Members) -> str:
        """The transaction that makes the whole table, whatever was there."""
        lines = [f"table {self.header}", f"delete table {self.header}"]
        lines.append(f"table {self.header} {{\n{self.skeleton}\n}}")
        return "\n".join([*lines, *self._changes(Members(), wanted)]) + "\n"

    def remove(self) -> str:
        """The transaction that takes the table away, if it is there."""
        return f"table {self.header}\ndelete table {self.header}\n"

    def change(self, old: Members, wanted: Members) -> str:
        """The transaction from `old` to `wanted`; empty when they are the same."""
        lines = self._changes(old, wanted)
        return "\n".join(lines) + "\n" if lines else ""

    def _changes(self, old: Members, wanted: Members) -> list[str]:
        # Elements go before the chains that they jump to, and come after them.
        lines: list[str] = []
        for name in old.maps.keys() | wanted.maps.keys():
            before, after = old.maps.get(name, {}), wanted.maps.get(name, {})
            lines += self._elements(
                "delete", name, [k for k, v in before.items() if after.get(k) != v]
            )
        for name in old.sets.keys() | wanted.sets.keys():
            gone = old.sets.get(name, frozenset()) - wanted.sets.get(name, frozenset())
            lines += self._elements("delete", name, sorted(gone))
        lines += self._chains(old.chains, wanted.chains)
        for name, elements in wanted.maps.items():
            before = old.maps.get(name, {})
            new = [f"{k} : {v}" for k, v in elements.items() if before.get(k) != v]
            lines += self._elements("add", name, new)
        for name, members in wanted.sets.items():
            lines += self._elements("add", name, sorted(members - old.sets.get(name, frozenset())))
        return lines

    def _elements(self, verb: str, name: str, elements: list[str]) -> list[str]:
        if not elements:
            return []
        return [f"{verb} element {self.header} {name} {{ {', '.join(elements)} }}"]

    def _chains(self, old: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
        lines = []
        for name, rules in wanted.items():
            if old.get(name) == rules:
                continue
            verb = "flush" if name in old else "add"
            lines.append(f"{verb} chain {self.header} {name}")
            lines += [f"add rule {self.header} {name} {rule}" for rule in rules.splitlines()]
        for name in old.keys() - wanted.keys():
            lines += [f"flush chain {self.header} {name}", f"delete chain {self.header} {name}"]
        return lines
