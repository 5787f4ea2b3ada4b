"""The certificate that those without one present: a known one, whose key anybody has.

gRPC's servers either demand a client's certificate or never ask for one. A node that joins has
none yet, and everyone else must show one, on the same port; so servers trust this certificate
beside the cluster's root. It names no node and no role, may sign nothing (CA:FALSE), and whoever
shows it is ROLE_ANYONE.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

CERT = b"""\
-----BEGIN CERTIFICATE-----
MIIBdzCCARygAwIBAgIBATAKBggqhkjOPQQDAjAoMQ8wDQYDVQQDDAZhbnlvbmUx
FTATBgNVBAsMDHN3YXJtLWFueW9uZTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEw
MTAwMDAwMFowKDEPMA0GA1UEAwwGYW55b25lMRUwEwYDVQQLDAxzd2FybS1hbnlv
bmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASmy9zLlAOFAhjEIamOGE8mWc42
1l/OxiGFZSkO0Bq4fhfp7ZvLFZSLrJE9WN/k3oUbz1lMOQyLX3V6uegXf50HozUw
MzAMBgNVHRMBAf8EAjAAMA4GA1UdDwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEF
BQcDAjAKBggqhkjOPQQDAgNJADBGAiEA4MdRcW9eYq7esULa9NnORBJDcKPGHJDl
KqRMBvVgZ+QCIQDZUAbJfB8joy75LSknkVlZ4MG4mTibcQQR5xr17lefIw==
-----END CERTIFICATE-----
"""


def key() -> bytes:
    """Its key, PEM: no secret."""
    number = int.from_bytes(hashlib.sha256(b"swarmlite: anyone").digest(), "big")
    return ec.derive_private_key(number, ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
