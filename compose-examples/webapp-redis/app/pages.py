"""Pages of plain text by HTTP, until SIGTERM."""

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pages(BaseHTTPRequestHandler):
    """What a web server's own handler derives from."""

    def answer(self, status: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        """Send a page; `kind` is its content type."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(pages: type[Pages], port: int) -> None:
    """Answer on every address."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", port), pages).serve_forever()
