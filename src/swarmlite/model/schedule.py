"""When a job runs: the five fields of cron(5), or a word for them, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from swarmlite.errors import InvalidSpec

WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MAX_LENGTH = 256


def check(text: str) -> None:
    """Raise InvalidSpec for what is no schedule, and for one that never comes."""
    next_after(text, 0.0)


def next_after(text: str, moment_s: float) -> float:
    """The first time of the schedule after a time; both are UNIX time. Raises InvalidSpec."""
    from cronsim import CronSim, CronSimError  # at the first use: commands load without it

    fields = WORDS.get(text, text)
    shown = f"--schedule {text[:60]!r}"
    if len(fields.split()) != 5 or len(fields) > MAX_LENGTH or not fields.isprintable():
        raise InvalidSpec(f"{shown}: expected five fields, as 30 4 * * *, or one of {_words()}")
    try:
        found: datetime = next(CronSim(fields, datetime.fromtimestamp(int(moment_s), UTC)))
    except CronSimError as error:
        raise InvalidSpec(f"{shown}: {' '.join(str(error).split()).lower()}") from error
    except (StopIteration, OverflowError) as error:
        raise InvalidSpec(f"{shown}: there is no such day") from error
    return found.timestamp()


def _words() -> str:
    return ", ".join(WORDS)
