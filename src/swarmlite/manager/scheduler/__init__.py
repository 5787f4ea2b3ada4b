"""Scheduling: which node a pending task runs on; PENDING to ASSIGNED.

Filters say which nodes can take a task and, when none can, why; ranking spreads a service over
them. What each node has left is kept in step with events. It never moves a task that has a node:
the enforcer and the orchestrators end it, and its replacement comes here.
"""
