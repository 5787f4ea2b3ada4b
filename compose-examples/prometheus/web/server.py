"""A web server that counts what it is asked, for Prometheus at /metrics."""

import signal
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    """/metrics tells the numbers of requests; every other path says hello."""

    def do_GET(self) -> None:
        """Answer a request of this method."""
        path = "/metrics" if self.path == "/metrics" else "/"
        asked[path] += 1
        lines = ["hello\n"]
        if path == "/metrics":
            lines = ["# TYPE web_requests_total counter\n"]
            lines += [f'web_requests_total{{path="{p}"}} {n}\n' for p, n in asked.items()]
        body = "".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", 8000), Handler).serve_forever()
