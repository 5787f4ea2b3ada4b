"""Takes jobs (POST /?jobs=10) and says how many wait, how many are done, and by whom (GET /)."""

import os
import urllib.parse

from pages import Pages, serve
from resp import Redis, RedisError


class Handler(Pages):
    """See above."""

    def do_POST(self) -> None:
        """Take jobs."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        count = int(query.get("jobs", ["1"])[0])
        self.reply(lambda redis: redis.command("LPUSH", "waiting", *map(str, range(count))))

    def do_GET(self) -> None:
        """Say what is done."""
        self.reply(state)

    def reply(self, ask) -> None:
        """Send what Redis says, as a line of text."""
        try:
            with Redis(os.environ["REDIS_HOST"]) as redis:
                status, text = 200, f"{ask(redis)}\n"
        except (OSError, RedisError) as error:
            status, text = 503, f"Redis does not answer yet: {error}\n"
        self.answer(status, text)


def state(redis: Redis) -> str:
    """Numbers of jobs, and of workers that did some."""
    waiting = redis.command("LLEN", "waiting")
    done, workers = redis.command("GET", "done") or 0, redis.command("SCARD", "workers")
    return f"{waiting} waiting, {done} done by {workers} workers"


if __name__ == "__main__":
    serve(Handler, 8000)
