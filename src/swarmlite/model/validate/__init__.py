"""What a spec may say: one module an object. Each raises InvalidSpec with one line for the user.

The line says what is wrong, where, in the words of the flags, and what would be right. What this
release does not honour is refused by name, in `unsupported`.
"""

from .cluster import validate_cluster
from .network import validate_network
from .node import validate_node
from .payloads import validate_config, validate_secret
from .service import validate_change, validate_service

__all__ = [
    "validate_change",
    "validate_cluster",
    "validate_config",
    "validate_network",
    "validate_node",
    "validate_secret",
    "validate_service",
]
