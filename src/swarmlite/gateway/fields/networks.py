"""What of a network's answers depends on the version."""

from swarmlite.gateway.versions import Field, table

_ROWS = (
    Field("EnableIPv4", since=47),
    Field("Ingress", since=29),
    Field("ConfigFrom", since=30),
    Field("ConfigOnly", since=30),
    Field("Attachable", since=25),
    Field("Created", since=25),
)
NETWORK = table(
    "network",
    *_ROWS,
    Field("Peers", since=28),
    Field("Services", since=28),
    Field("Status", since=52),
)
SUMMARY = table(
    "network.summary",
    *(Field(f"*.{row.path}", row.since, row.until) for row in _ROWS),
    Field("*.Containers", until=51),
)
