"""Counts its visitors in Redis, and waits for Redis as long as it must."""

import os
import socket

from pages import Pages, serve
from resp import Redis, RedisError

REDIS_HOST = os.environ.get("REDIS_HOST", "redis")
PORT = int(os.environ.get("PORT", "8000"))


class Handler(Pages):
    """`/` counts a visit, `/health` asks Redis whether it is there."""

    def do_GET(self) -> None:
        """Answer a request of this method."""
        try:
            with Redis(REDIS_HOST) as redis:
                if self.path == "/health":
                    text = f"{redis.command('PING')}\n"
                else:
                    visits = redis.command("INCR", "visits")
                    text = f"Visitor number {visits} was served by {socket.gethostname()} .\n"
        except (OSError, RedisError) as error:
            self.answer(503, f"Redis at {REDIS_HOST} does not answer yet: {error}\n")
            return
        self.answer(200, text)


if __name__ == "__main__":
    serve(Handler, PORT)
