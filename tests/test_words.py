"""Words that readers of this field do not expect stay out of code, messages and papers."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".proto", ".md", ".sh", ".service", ".html"}
UNEXPECTED = {
    r"\bwish(ed|es)?\b": "desired, wanted or requested",
    r"\bis there twice\b": "specified twice",
    r"\bis no kind\b": "unknown kind",
    r"\bis no (IP )?address\b": "is not an IP address",
    r"\bis no (number|size|duration|CIDR|host name|list|string|object)\b": "is not a ...",
    r"\b(is|answer(s|ed)?|which is) no (JSON|UNIX time|URL|port from|change of)\b": "is not ...",
    r"\bha(s|ve) not got\b": "lacks",
    r"\bdo(es)? not go with\b": "cannot be used with",
    r"\bgoes with no other\b": "cannot be combined with another",
    r"\bis also said by\b": "is also given by",
    r"\bexcludes? every other\b": "cannot be combined with another",
    r"\bwrite more of the id\b": "use a longer id prefix",
    r"\bgoes with --?\w+": "only valid with ...",
    r"\b[Aa]new\b": "again",
    r"\bborne\b": "tolerated",
}


def papers() -> list[Path]:
    places = [ROOT / "src", ROOT / "docs", ROOT / "deploy"]
    found = [path for place in places for path in place.rglob("*") if path.suffix in SUFFIXES]
    return [
        path
        for path in [*found, *ROOT.glob("*.md")]
        if "_pb2" not in path.name and "egg-info" not in str(path)
    ]


def test_unexpected_words_stay_out() -> None:
    found = []
    for path in papers():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for word, right in UNEXPECTED.items():
                if re.search(word, line):
                    place = path.relative_to(ROOT)
                    found.append(f"{place}:{number}: {line.strip()[:80]} (rather: {right})")
    assert found == []
