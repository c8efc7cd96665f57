"""Durations and sizes as people read them."""

from __future__ import annotations


def shown_duration(seconds: float) -> str:
    """Return seconds as "0.4 s", "12 s", "7 min", "3.2 h" or "4.1 days"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"


def shown_bytes(count: float) -> str:
    """Return a number of bytes as "12 kB", "3.4 MB" and so on, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
