"""What each node runs: a session with a manager, and one controller a task.

It owns the observed state of its node's tasks (from ACCEPTED on), their containers, sandboxes,
volumes, logs and health, and keeps them on disk, so that it adopts running containers when it is
started again and goes on without managers. It also serves the engine and the builder on the
host's own socket, in a swarm or not. It decides nothing about the cluster, never imports
`manager`, never forks (the supervisor does), and never writes a secret to a disk.

`process` wires it together; `session` brings `assignments`, `worker` turns them into
`controller`s, `workload` does what a controller decides through `engine`, and `reporter` tells the
managers. `carrying/` gives images to other nodes and takes them from there; `network_checks` has
this node probe the others of a network.
"""
