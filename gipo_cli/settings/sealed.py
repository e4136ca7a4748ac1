"""A text file that ends with the digest of its other lines, so that a changed byte is noticed."""

from __future__ import annotations

import hashlib

_SEAL = "# sha256 of the lines above: "


def seal(text: str) -> str:
    """The text with the digest of its lines as its last one."""
    return f"{text}{_SEAL}{_digest(text.encode())}\n"


def unseal(content: bytes) -> bytes | None:
    """The text without its digest; None if it lacks one, or was changed since."""
    text, _, digest = content.rpartition(_SEAL.encode())
    return text if digest == f"{_digest(text)}\n".encode() else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
