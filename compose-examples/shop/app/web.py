"""Lists the products. It trusts that the tables are there: it starts behind the migration."""

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
from database import connect


class Handler(BaseHTTPRequestHandler):
    """Every path answers with the products."""

    def do_GET(self) -> None:
        """Answer a request of this method."""
        try:
            with connect() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT name, price_cents FROM products ORDER BY name")
                rows = [f"{name} {cents / 100:.2f}\n" for name, cents in cursor.fetchall()]
        except psycopg2.Error as error:
            self.answer(503, f"{error}\n")
            return
        self.answer(200, "".join(rows))

    def answer(self, status: int, text: str) -> None:
        """Send a page of plain text."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", 8000), Handler).serve_forever()
