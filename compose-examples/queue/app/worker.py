"""Does one job after the other; told to end, it ends behind the job that it has."""

import hashlib
import os
import signal
import socket
import time

from resp import Redis, RedisError

going_on = True


def end(*_: object) -> None:
    """SIGTERM."""
    global going_on
    going_on = False


def work(job: str) -> None:
    """Something that takes a processor for a while."""
    hashlib.pbkdf2_hmac("sha256", job.encode(), b"salt", 20_000)


signal.signal(signal.SIGTERM, end)
while going_on:
    try:
        with Redis(os.environ["REDIS_HOST"]) as redis:
            while going_on:
                job = redis.command("RPOP", "waiting")
                if job is None:
                    time.sleep(0.2)
                    continue
                work(str(job))
                redis.command("SADD", "workers", socket.gethostname())
                redis.command("INCR", "done")
    except (OSError, RedisError):
        time.sleep(0.5)  # Redis is not there yet, or no longer
