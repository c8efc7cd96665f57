"""File systems by path, and whether several machines share them."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
"""The mounts that this process sees, as in proc_pid_mountinfo(5)."""
# fmt: off
SHARED_TYPES = frozenset({
    "9p", "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "gfs", "gfs2", "glusterfs", "gpfs", "juicefs",
    "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "wekafs",
})
# fmt: on
"""File systems of several machines, by the name that Linux gives them; besides those of FUSE."""


def file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system that an absolute path is on, "" if it is unknown.

    Args:
        path: without links; it need not exist.
        mounts: the text of MOUNTS. Of two mounts on one folder the later one is seen.
    """
    found, longest = "", -1
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if len(mounted.parts) >= longest and path.is_relative_to(mounted):
            found, longest = after.split(" ")[0], len(mounted.parts)
    return found


def is_shared(kind: str) -> bool:
    """Return whether several machines may have a file system of this type mounted: flock may not hold between them."""
    return kind in SHARED_TYPES or kind.startswith("fuse.") or kind == "fuse"


def is_shared_folder(path: Path) -> bool:
    """Return whether a folder is on a file system that several machines may have mounted; False where unknown."""
    try:
        return is_shared(file_system(path, MOUNTS.read_text()))
    except OSError:
        return False
