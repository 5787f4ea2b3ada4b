"""One host's wiring: networks, containers' sandboxes, load balancing, published ports and DNS.

Owns, in the kernel: the network namespaces under `Paths.netns_dir`, the bridges of this host, the
ingress interface, the nftables tables `ip swarmlite` and `ip6 swarmlite` of the host, and
`swarmlite-sandbox` of each container. The table `inet swarmlite-user` is made here, and what is in
it is the user's. On disk:
`networks/` in the state directory (this host's own networks), `agent/networks` (what the managers
said last) and `network/` in the run directory (the sandboxes). It consumes the managers' messages
`Network`, `Endpoint` and `VirtualService` and never asks anyone; it knows containers by a sandbox
id only, never tasks or services' specs. It never forks and never blocks the event loop: kernel work
runs on its own threads (`netns.Threads`). `node.NodeNetwork` is the whole interface, `api` what it
is asked for and gives.
"""
