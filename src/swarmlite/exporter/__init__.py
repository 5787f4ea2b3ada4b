"""A node's figures and health over HTTP: /metrics for Prometheus, /healthz and /readyz.

A process of its own, which swarmlited starts where the owner opens an address (`--metrics-addr`).
It asks the node's processes at each scrape and keeps nothing between two; what it costs, and what
it loads, no other process pays. It changes nothing, and knows no more than its node does.
"""
