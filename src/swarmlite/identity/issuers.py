"""Which root a certificate is of: the root's key id, in hexadecimal digits."""

from __future__ import annotations

from cryptography import x509


def key_id(root: bytes) -> str:
    """A root certificate's own key id. Raises ValueError for what is no certificate."""
    return key_id_of(x509.load_pem_x509_certificate(root)).hex()


def key_id_of(root: x509.Certificate) -> bytes:
    """As the certificate says, else the digest of its public key."""
    try:
        extension = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(root.public_key()).digest
    return extension.value.digest


def issuer_of(certificate: bytes) -> str:
    """The key id of the root that issued a node's certificate; empty where it does not say.

    Raises ValueError for what is no certificate.
    """
    parsed = x509.load_pem_x509_certificate(certificate)
    try:
        extension = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return ""
    return (extension.value.key_identifier or b"").hex()
