"""Orchestration: which tasks exist for each service, and their desired states.

Only it creates tasks and sets desired states: per slot (replicated), per node (global) and per
iteration (jobs), asking `restart` about ended tasks and `updater` about outdated ones. One loop
decides all of a service, so that no two decisions about one place race. It never chooses nodes,
never allocates, and never deletes: that is the scheduler's, the allocator's and the reaper's.
"""
