"""One host's containers, whoever asked for them: a user of the host, or the agent for a task.

Owns the container records and everything that is done to a container: its steps, restarts, health,
streams, events; and the services on the host's own unix socket. It uses `storage`, `network` and
`runtime`, and never knows of managers, services or schedules.
"""
