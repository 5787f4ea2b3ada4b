"""Brings the database to the newest of migrations/, each in a transaction of its own, once."""

from pathlib import Path

from database import connect

LOCK = 4711  # two migrations at once wait for each other

with connect() as connection, connection.cursor() as cursor:
    cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    cursor.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
    connection.commit()
    cursor.execute("SELECT name FROM migrations")
    done = {name for (name,) in cursor.fetchall()}
    for file in sorted(Path("/app/migrations").glob("*.sql")):
        if file.name not in done:
            cursor.execute(file.read_text())
            cursor.execute("INSERT INTO migrations VALUES (%s)", (file.name,))
            connection.commit()
            print(f"applied {file.name}")
print("the database is up to date")
