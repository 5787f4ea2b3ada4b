"""Stacks: compose files to specs, and the plan that brings a swarm from one to the other.

Pure but for reading the files that a compose file names. The way of a file: `tree` (YAML to nodes
that know their file, line and path), `interpolate`, `canonical/` (its long form, with every type
checked), `merge` (several files), `load` (the keys of the top, then `service/` for those of a
service) to a `Stack` of specs. `plan` compares with what the swarm has, `difference` says how.
`syntax` holds the short notations, which flags of the command line share.
It calls nobody: `swarmlite.cli.stack` does.
"""
