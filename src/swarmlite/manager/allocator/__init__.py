"""Allocation: subnets, VNIs, VIPs, tasks' and nodes' addresses, published ports; NEW to PENDING.

What is taken is rebuilt from the store at each term's start; an address is free again once its
task has ended. It never decides that a task should exist or where it runs.
"""
