"""A web server that counts what it is asked, for Prometheus at /metrics."""

from collections import Counter

from pages import Pages, serve

asked: Counter[str] = Counter()


class Handler(Pages):
    """/metrics tells the numbers of requests; every other path says hello."""

    def do_GET(self) -> None:
        """Answer a request of this method."""
        path = "/metrics" if self.path == "/metrics" else "/"
        asked[path] += 1
        lines = ["hello\n"]
        if path == "/metrics":
            lines = ["# TYPE web_requests_total counter\n"]
            lines += [f'web_requests_total{{path="{p}"}} {n}\n' for p, n in asked.items()]
        self.answer(200, "".join(lines), "text/plain; version=0.0.4")


if __name__ == "__main__":
    serve(Handler, 8000)
