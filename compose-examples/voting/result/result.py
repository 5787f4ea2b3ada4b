"""The page of results, counted in PostgreSQL; `/?format=text` and `/?format=json` for programs."""

import html
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg2

DB_HOST = os.environ.get("DB_HOST", "db")
OPTIONS = {"a": os.environ.get("OPTION_A", "Cats"), "b": os.environ.get("OPTION_B", "Dogs")}

PAGE = """<!DOCTYPE html>
<html><head><title>Results</title><meta http-equiv="refresh" content="3"></head>
<body><h1>Results</h1><table>{rows}</table><p>{total} votes</p></body></html>
"""


def count() -> dict[str, int]:
    """Votes by option. Raises psycopg2.Error."""
    database = psycopg2.connect(
        host=DB_HOST,
        user=os.environ.get("POSTGRES_USER", "postgres"),
        password=os.environ.get("POSTGRES_PASSWORD", "postgres"),
        dbname="postgres",
        connect_timeout=5,
    )
    try:
        with database.cursor() as cursor:
            cursor.execute("SELECT vote, count(*) FROM votes GROUP BY vote")
            found = dict(cursor.fetchall())
    except psycopg2.errors.UndefinedTable:
        found = {}  # no worker has come so far yet
    finally:
        database.close()
    return {name: int(found.get(key, 0)) for key, name in OPTIONS.items()}


class Handler(BaseHTTPRequestHandler):
    """Every path shows the counts."""

    def do_GET(self) -> None:
        """Answer a request of this method."""
        wanted = parse_qs(urlsplit(self.path).query).get("format", ["html"])[0]
        try:
            votes = count()
        except psycopg2.Error as error:
            why = str(error).splitlines()[0] if str(error) else "no connection"
            self.answer(503, "text/plain", f"The database does not answer yet: {why}\n")
            return
        if wanted == "json":
            self.answer(200, "application/json", json.dumps(votes) + "\n")
        elif wanted == "text":
            lines = [f"{name} {number}\n" for name, number in votes.items()]
            self.answer(200, "text/plain", "".join(lines))
        else:
            rows = [
                f"<tr><td>{html.escape(name)}</td><td>{number}</td></tr>"
                for name, number in votes.items()
            ]
            page = PAGE.format(rows="".join(rows), total=sum(votes.values()))
            self.answer(200, "text/html", page)

    def answer(self, status: int, kind: str, text: str) -> None:
        """Send a page."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "80"))), Handler).serve_forever()
