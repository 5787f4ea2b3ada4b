"""What is known of the node as a whole: its version, and until when its certificate holds."""

from __future__ import annotations

from cryptography import x509

from swarmlite import __version__
from swarmlite.exporter.asking import Answer
from swarmlite.identity.certificates import Certificates
from swarmlite.model.figures import Figures
from swarmlite.paths import Paths
from swarmlite.proto.observed_pb2 import MetricFamily


def figures(paths: Paths, answers: list[Answer]) -> list[MetricFamily]:
    """Which processes answer, and the rest."""
    made = Figures("swarmlite")
    made.gauge("build_info", "Always 1; the version is its label.", 1, version=__version__)
    for answer in answers:
        made.gauge("up", "Whether a process answers.", answer.up, process=answer.process)
        made.gauge("ready", "Whether it can do its work.", answer.ready, process=answer.process)
    try:
        pem = Certificates(paths.certificates_dir).certificate
        expires = x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    except (OSError, ValueError):  # outside of a swarm
        return made.families
    made.gauge(
        "certificate_expires_seconds", "When the node's certificate ends, since 1970.", expires
    )
    return made.families
