"""Images from node to node: what this node gives, whom it asks, and what it was asked to keep.

Managers say who has an image and who may have it (tickets); bytes go from agent to agent, and
managers never see them. Bytes are checked by the store, whoever sent them.
"""
