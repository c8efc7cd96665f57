"""Where stores, patterns, initialisations, cells and predictions live, shared by all suites.

Everything appears under its final name at once or not at all: files by `write_atomic`, folders by `building`.
"""

from __future__ import annotations

from sg_bench.workspace.files import (
    OLD,
    atomic_file,
    file_digest,
    file_state,
    move_aside,
    parsed_json,
    read_bytes,
    read_json,
    replace_folder,
    restore_folder,
    steady,
    sync_folder,
    sync_tree,
    write_atomic,
    write_changed,
    write_json,
)
from sg_bench.workspace.folders import DAMAGED, PARTIAL, WEIGHT_FILES, Namespace, Workspace
from sg_bench.workspace.locks import LockedElsewhere

__all__ = [
    "DAMAGED",
    "OLD",
    "PARTIAL",
    "WEIGHT_FILES",
    "LockedElsewhere",
    "Namespace",
    "Workspace",
    "atomic_file",
    "file_digest",
    "file_state",
    "move_aside",
    "parsed_json",
    "read_bytes",
    "read_json",
    "replace_folder",
    "restore_folder",
    "steady",
    "sync_folder",
    "sync_tree",
    "write_atomic",
    "write_changed",
    "write_json",
]
