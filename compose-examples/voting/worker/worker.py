"""Moves votes from Redis to PostgreSQL: one row a voter, the last vote counts.

A vote leaves Redis only once it is committed: it waits in a second list meanwhile, so that a worker
that is killed loses none.
"""

import json
import os
import signal
import sys
import time

import psycopg2
from resp import Redis, RedisError

REDIS_HOST = os.environ.get("REDIS_HOST", "redis")
DB_HOST = os.environ.get("DB_HOST", "db")
_WAIT_S = 2
_TABLE = "CREATE TABLE IF NOT EXISTS votes (voter_id text PRIMARY KEY, vote text NOT NULL)"
_STORE = """INSERT INTO votes (voter_id, vote) VALUES (%s, %s)
            ON CONFLICT (voter_id) DO UPDATE SET vote = EXCLUDED.vote"""


def connect_database() -> "psycopg2.extensions.connection":
    """A connection with the table in place. Raises psycopg2.Error."""
    database = psycopg2.connect(
        host=DB_HOST,
        user=os.environ.get("POSTGRES_USER", "postgres"),
        password=os.environ.get("POSTGRES_PASSWORD", "postgres"),
        dbname="postgres",
        connect_timeout=5,
    )
    database.autocommit = True
    with database.cursor() as cursor:
        cursor.execute(_TABLE)
    return database


def store(database: "psycopg2.extensions.connection", line: str) -> None:
    """One vote into the table; what is no vote is dropped with a line in the log."""
    try:
        vote = json.loads(line)
        row = (str(vote["voter_id"]), str(vote["vote"]))
    except (ValueError, KeyError, TypeError):
        print(f"not a vote: {line[:100]!r}")
        return
    with database.cursor() as cursor:
        cursor.execute(_STORE, row)
    print(f"stored a vote for {row[1]} by {row[0]}")


def move_votes() -> None:
    """Move votes until a connection breaks. Raises OSError, RedisError, psycopg2.Error."""
    database = connect_database()
    try:
        with Redis(REDIS_HOST) as redis:
            print("connected to Redis and PostgreSQL")
            while redis.command("RPOPLPUSH", "votes:pending", "votes"):
                pass  # what a former worker did not finish
            redis.wait_at_most(30)
            while True:
                line = redis.command("BLMOVE", "votes", "votes:pending", "LEFT", "RIGHT", "10")
                if isinstance(line, str):
                    store(database, line)
                    redis.command("LREM", "votes:pending", "1", line)
    finally:
        database.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            move_votes()
        except (OSError, RedisError, psycopg2.Error) as error:
            print(f"waiting: {str(error).splitlines()[0] if str(error) else error!r}")
            time.sleep(_WAIT_S)
