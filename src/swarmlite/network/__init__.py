"""One host's wiring: overlays, containers' sandboxes, load balancing, ingress, egress and DNS.

Owns, in the kernel: the network namespaces under `Paths.netns_dir`, the egress bridge, the ingress
port and the nftables table `ip swarmlite` of the host's namespace; on disk: `network/` in the run
directory. It consumes the managers' messages `Network`, `Endpoint` and `VirtualService` and never
asks anyone; it knows containers by a sandbox id only, never tasks or services' specs. It never
forks and never blocks the event loop: kernel work runs on its own threads (`netns.Threads`).
`node.NodeNetwork` is the whole interface.
"""
