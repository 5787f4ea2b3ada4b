"""The page on which one votes; each vote goes to Redis as one JSON line."""

import html
import json
import os
import secrets
import signal
import socket
import sys
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from resp import Redis, RedisError

REDIS_HOST = os.environ.get("REDIS_HOST", "redis")
OPTIONS = {"a": os.environ.get("OPTION_A", "Cats"), "b": os.environ.get("OPTION_B", "Dogs")}
_MAX_FORM_BYTES = 4096

PAGE = """<!DOCTYPE html>
<html><head><title>{a} or {b}?</title></head>
<body><h1>{a} or {b}?</h1>
<form method="post"><button name="vote" value="a">{a}</button>
<button name="vote" value="b">{b}</button></form>
<p>{note}</p><p>Served by {host}</p></body></html>
"""


class Handler(BaseHTTPRequestHandler):
    """GET shows the form, POST takes a vote; a voter is known by a cookie."""

    def do_GET(self) -> None:
        """Answer a request of this method."""
        self.page(200, "")

    def do_POST(self) -> None:
        """Answer a request of this method."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _MAX_FORM_BYTES:
            self.page(400, "That is not a vote.")
            return
        form = parse_qs(self.rfile.read(int(length)).decode(errors="replace"))
        choice = form.get("vote", [""])[0]
        if choice not in OPTIONS:
            self.page(400, "That is not a vote.")
            return
        voter = self.voter()
        try:
            with Redis(REDIS_HOST) as redis:
                vote = {"voter_id": voter, "vote": choice}
                redis.command("RPUSH", "votes", json.dumps(vote))
        except (OSError, RedisError) as error:
            self.page(503, f"The vote could not be stored yet: {error}")
            return
        self.page(200, f"Your vote for {OPTIONS[choice]} is on its way.", voter)

    def voter(self) -> str:
        """The voter's cookie, or a new one."""
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get("voter_id")
        except CookieError:
            morsel = None
        value = morsel.value if morsel else ""
        return value if value.isalnum() and len(value) <= 64 else secrets.token_hex(8)

    def page(self, status: int, note: str, voter: str = "") -> None:
        """Send the form with a note below it."""
        names = {key: html.escape(name) for key, name in OPTIONS.items()}
        text = PAGE.format(**names, note=html.escape(note), host=socket.gethostname())
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", f"voter_id={voter or self.voter()}; Path=/")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "80"))), Handler).serve_forever()
