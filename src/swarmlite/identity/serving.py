"""Serving with the node's certificate: mutual TLS, demanded of everyone who connects."""

from __future__ import annotations

from typing import Any

import grpc

from swarmlite.identity.certificates import Certificates


def server_credentials(own: Certificates, *, also: bytes = b"") -> grpc.ServerCredentials:
    """Of a server that lets in who has a certificate of the cluster's roots, or one of `also`.

    The files are read again at each handshake when they have changed, so that a renewal needs no
    restart. Raises OSError without certificates.
    """

    def configuration() -> Any:
        pair = (own.key, own.certificate)
        roots = own.roots + b"\n" + also
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    loaded = own.stamp()

    def fetch() -> Any:
        nonlocal loaded
        try:
            now = own.stamp()
            if now == loaded:
                return None
            fresh = configuration()
        except OSError:
            return None  # in the middle of a renewal: the old one holds
        loaded = now
        return fresh

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, True)
