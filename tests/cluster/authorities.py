"""A certificate authority of cfssl's protocol, as small as it can be, and roots of one's own."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from swarmlite.manager.ca.root import RootCA, Subject


class Authority:
    """Signs what it is asked for by `root`; `mood` is how it misbehaves."""

    def __init__(self, root: RootCA) -> None:
        self.root = root
        self.mood = ""
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    def answer(self, request: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append(request)
        if self.mood == "refuses":
            return 400, {"success": False, "errors": [{"code": 1, "message": "policy says no"}]}
        names = request["subject"]["names"][0]
        subject = Subject(request["subject"]["CN"], names["OU"], names["O"])
        if self.mood == "other names":
            subject = Subject("somebody", names["OU"], names["O"])
        root = RootCA.create() if self.mood == "other root" else self.root
        csr = request["certificate_request"].encode()
        certificate = root.issue(csr, subject, timedelta(days=1)).decode()
        return 200, {"success": True, "result": {"certificate": certificate}, "errors": []}


@contextmanager
def serving(root: RootCA, address: str = "127.0.0.1") -> Iterator[Authority]:
    """The authority on a port of its own."""
    authority = Authority(root)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            status, answer = authority.answer(json.loads(self.rfile.read(length)))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    authority.url = f"http://{address}:{server.server_port}/api/v1/cfssl/sign"
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
