"""One host's containers: a runtime for OCI bundles.

Owns the supervisor (the parent of the node's containers), the OCI rules, cgroups and seccomp. It
knows nothing of images, tasks, services or networks: it is handed an OCI spec and a bundle.
The supervisor runs with `python -I -S` and must stay lean, so importing this package, `supervisor`,
`oci`, `cgroups` or `seccomp` imports nothing beyond the standard library.
"""
