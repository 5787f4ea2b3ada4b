"""The way to the database."""

import os

import psycopg2


def connect():
    """A connection. Raises psycopg2.OperationalError while the database is not there."""
    return psycopg2.connect(
        host=os.environ["DB_HOST"],
        user="postgres",
        password=os.environ["POSTGRES_PASSWORD"],
        connect_timeout=5,
    )
