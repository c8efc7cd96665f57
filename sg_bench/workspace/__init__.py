"""Where stores, patterns, initialisations, cells and predictions live, shared by all suites.

Everything appears under its final name at once or not at all: files by `write_atomic`, folders by `building`.
"""

from __future__ import annotations

from sg_bench.workspace.files import (
    OLD,
    atomic_file,
    check_writable,
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
from sg_bench.workspace.folders import PARTIAL, WEIGHT_FILES, Namespace, Workspace, pull_weights, push_weights
from sg_bench.workspace.locks import LockedElsewhere
from sg_bench.workspace.mirror import Mirror, is_copy, mark_copy
from sg_bench.workspace.objects import ObjectState, in_parallel, is_url
from sg_bench.workspace.remote import DAMAGED, DamagedCopyError, Remote

__all__ = [
    "DAMAGED",
    "OLD",
    "PARTIAL",
    "WEIGHT_FILES",
    "DamagedCopyError",
    "LockedElsewhere",
    "Mirror",
    "Namespace",
    "ObjectState",
    "Remote",
    "Workspace",
    "atomic_file",
    "check_writable",
    "file_digest",
    "file_state",
    "in_parallel",
    "is_copy",
    "is_url",
    "mark_copy",
    "move_aside",
    "parsed_json",
    "pull_weights",
    "push_weights",
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
