"""Who is signed in: by a link that serves once, or by a user's certificate of this cluster.

`swarmlite ui open` has swarmlited leave a file for each link, named by the digest of its token, in
a folder that only root can see (RUN/ui); whoever takes the file away is signed in by it. Sessions
are in memory: a restart signs everybody out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.errors import PermissionDenied

COOKIE = "__Host-swarmlite"
SESSION_S = 12 * 3600.0
MAX_SESSIONS = 1000
ROLES = ("reader", "operator", "admin")
TOKEN_BYTES = 32


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


@dataclass
class Session:
    """One signed in browser."""

    role: str
    name: str
    user_id: str = ""
    """Of a certificate; the managers may remove it at any time."""
    until: float = field(default_factory=lambda: time.monotonic() + SESSION_S)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(TOKEN_BYTES), repr=False)

    @property
    def token(self) -> str:
        """What each change has to bring along. Each page has other letters of it: pages are sent
        compressed, and how short they become must tell nothing of it (BREACH).
        """
        pad = secrets.token_bytes(TOKEN_BYTES)
        return base64.urlsafe_b64encode(pad + _mixed(pad, self.secret)).decode()

    def knows(self, token: str) -> bool:
        """Whether this is one of its tokens."""
        try:
            data = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except ValueError:
            return False
        pad, rest = data[:TOKEN_BYTES], data[TOKEN_BYTES:]
        return len(rest) == TOKEN_BYTES and hmac.compare_digest(_mixed(pad, rest), self.secret)

    def may(self, role: str) -> bool:
        """Whether this is the role or one that may more: what is offered, not what is allowed."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Sessions:
    """By the value of their cookie."""

    def __init__(self, links: Path) -> None:
        """`links` is the folder of unused links."""
        self._links = links
        self._sessions: dict[str, Session] = {}

    def redeem(self, token: str) -> Session:
        """Sign in by a link. Raises PermissionDenied when it was used, is too old, or is none."""
        file = self._links / hashlib.sha256(token.encode()).hexdigest()
        try:
            said = json.loads(file.read_text())
            file.unlink()  # one of two at the same moment fails here
        except (OSError, ValueError) as error:
            raise PermissionDenied(
                "this link was used already or is too old: `swarmlite ui open` makes another"
            ) from error
        if said["until"] < time.time() or said["role"] not in ROLES:
            raise PermissionDenied("this link is too old: `swarmlite ui open` makes another")
        return Session(said["role"], said["name"])

    def keep(self, session: Session) -> str:
        """The value of its cookie."""
        now = time.monotonic()
        self._sessions = {key: s for key, s in self._sessions.items() if s.until > now}
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        value = secrets.token_urlsafe(32)
        self._sessions[value] = session
        return value

    def get(self, value: str | None) -> Session | None:
        """Who has this cookie; None for nobody any more."""
        session = self._sessions.get(value or "")
        return session if session is not None and session.until > time.monotonic() else None

    def end(self, value: str | None) -> None:
        """Sign out."""
        self._sessions.pop(value or "", None)
