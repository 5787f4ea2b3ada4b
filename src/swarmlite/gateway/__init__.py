"""Docker's Engine API over HTTP, for Docker's own clients: a process that starts when it is asked.

swarmlited holds its socket and starts it at the first connection (`process.py`); it ends when
nobody is connected any more, and may be killed at any time: it keeps nothing. What it is asked it
asks the engine of this host and the managers over their gRPC sockets (`backends.py`).

`app.py` finds the handler, `request.py` is what a handler sees of a request, `errors.py` how one
fails, `versions.py` which fields an older client gets. `routes/` has a file a group of endpoints;
`streams/` what is not one request and one answer. Which JSON is which message is known by `docker`.
"""
