"""Certificates that should have been renewed by now."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509

OLD = 0.9
"""Of its life; renewal tries from 0.5 to 0.8 of it on."""


def warnings(certificate: bytes, now: datetime | None = None) -> list[str]:
    """One line for a certificate (PEM) that is old. Raises ValueError for what is none."""
    parsed = x509.load_pem_x509_certificate(certificate)
    begin, end = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    if (now or datetime.now(UTC)) < begin + (end - begin) * OLD:
        return []
    return [
        f"its certificate ends at {end:%Y-%m-%d %H:%M} UTC and was not renewed: no manager gave it"
        " another one (its agent's log says why)"
    ]
