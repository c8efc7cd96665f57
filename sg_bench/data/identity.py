"""Seeds derived from a case's id, so that its random draws do not depend on which other cases are readable."""

from __future__ import annotations

import hashlib


def stable_hash(text: str) -> int:
    """Return a 64-bit unsigned hash of `text`: the same in every process, on every machine and Python version."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")
