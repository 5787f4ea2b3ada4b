"""swarmlite: containers on many hosts, with Docker Swarm's words and no Docker underneath.

The rooms, from the bottom up: `proto` (messages and RPCs), `model` (pure rules on them), then
`manager`, `agent`, `runtime`, `network`, `node`, `stack`, and `cli` on top; docs/ARCHITECTURE.md
draws how they work together.
"""

__version__ = "0.1.0"
