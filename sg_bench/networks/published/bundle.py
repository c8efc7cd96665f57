"""Reading of TensorFlow's checkpoints without TensorFlow: a table of tensors, and files of their bytes.

`NAME.index` is an uncompressed LevelDB table from names to records of type, shape and place, in the encoding of
protocol buffers; `NAME.data-00000-of-00001` and so on hold the bytes. There is no code in either. No maintained library
reads them without TensorFlow.

Source: the formats' descriptions in LevelDB (table_format.md) and TensorFlow (tensor_bundle.proto, version 1).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sg_bench.errors import DataError
from sg_bench.networks.weights import StateDict

INDEX = ".index"
MAGIC = 0xDB4775248B80FB57
FOOTER = 48
"""Bytes at the end of a table: two places, padding, and the magic number."""
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
"""numpy types by the number in a record; tensors of others, such as text, are left out."""
MOST = 2**31
"""Most bytes of a tensor."""
Fields = dict[int, list[Any]]


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is."""

    type: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def read_bundle(path: Path) -> StateDict:
    """Return the tensors of a checkpoint by name, in torch's layout.

    A kernel of a convolution, whose name ends in "w" or "kernel" and which has three axes or more, is (..., in, out)
    in TensorFlow and (out, in, ...) here; other tensors are unchanged.

    Args:
        path: the file that ends in .index, next to those of the bytes.

    Raises:
        DataError: a file is missing or damaged, or of another kind.
    """
    try:
        entries = dict(_entries(path.read_bytes()))
        shards = int(_fields(entries.pop(b"", b"")).get(1, [1])[0])
        records = {name.decode(): _record(value) for name, value in entries.items()}
        wanted = {name: each for name, each in records.items() if each.type in TYPES}
        return {name: _tensor(path, name, each, shards) for name, each in wanted.items()}
    except (ValueError, LookupError, struct.error, OverflowError) as error:
        raise DataError(
            f"{path}: it is damaged, or not a TensorFlow checkpoint: {error}", hint="Copy it again"
        ) from error


def data_files(path: Path) -> list[Path]:
    """Return the files of the bytes that belong to an index, sorted."""
    return sorted(path.parent.glob(f"{path.name.removesuffix(INDEX)}.data-*"))


def _tensor(path: Path, name: str, record: StoredTensor, shards: int) -> torch.Tensor:
    kind = np.dtype(TYPES[record.type])
    if not 0 <= record.size == math.prod(record.shape) * kind.itemsize <= MOST:
        raise ValueError(f"{name} has {record.size} bytes, which is not its shape {record.shape}")
    data = path.with_name(f"{path.name.removesuffix(INDEX)}.data-{record.shard:05d}-of-{shards:05d}")
    if not data.is_file():
        raise DataError(f"{data}: no such file", hint=f"It belongs to {path.name}: copy both to one folder")
    with data.open("rb") as file:
        file.seek(record.offset)
        content = file.read(record.size)
    if len(content) != record.size or _masked(_crc32c(content)) != record.checksum:
        raise ValueError(f"the bytes of {name} are not those that were written")
    array = np.frombuffer(content, kind).reshape(record.shape)
    if name.rpartition("/")[2] in ("w", "kernel") and array.ndim >= 3:
        array = np.moveaxis(array, (-1, -2), (0, 1))
    return torch.from_numpy(array.astype(kind.newbyteorder("="), order="C"))


def _record(content: bytes) -> StoredTensor:
    """Return a tensor's record: type 1, shape 2, shard 3, offset 4, size 5, checksum 6, slices 7."""
    fields = _fields(content)
    if 7 in fields:
        raise ValueError("a tensor is in slices: save the checkpoint from one process")
    dims = _fields(fields.get(2, [b""])[0]).get(2, [])
    shape = tuple(int(_fields(each).get(1, [0])[0]) for each in dims)
    kind, shard, offset, size, checksum = (int(fields.get(number, [0])[0]) for number in (1, 3, 4, 5, 6))
    return StoredTensor(kind, shape, shard, offset, size, checksum)


def _entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and values of a table: its last bytes place the block of blocks."""
    footer = content[-FOOTER:]
    if len(footer) < FOOTER or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise ValueError("no table")
    at = 0
    for _ in range(2):  # the place of the block of metadata, which is empty
        _, at = _varint(footer, at)
    for _, place in _block(content, footer[at:]):
        yield from _block(content, place)


def _block(content: bytes, place: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block; a name begins with that of the one before."""
    offset, at = _varint(place, 0)
    size, _ = _varint(place, at)
    block = content[offset : offset + size]
    kind, checksum = struct.unpack("<BI", content[offset + size : offset + size + 5])
    if kind:
        raise ValueError("the table is compressed")
    if _masked(_crc32c(block + bytes([kind]))) != checksum:
        raise ValueError("the table's checksum is wrong")
    end = size - 4 * (1 + struct.unpack("<I", block[-4:])[0])
    at, name = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        length, at = _varint(block, at)
        name = name[:shared] + block[at : at + rest]
        yield name, block[at + rest : at + rest + length]
        at += rest + length


def _fields(content: bytes) -> Fields:
    """Return the fields of a message of protocol buffers by number: integers, or the bytes of texts and messages."""
    found: Fields = {}
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        value: Any
        match tag & 7:
            case 0:
                value, at = _varint(content, at)
            case 2:
                length, at = _varint(content, at)
                value, at = content[at : at + length], at + length
            case 1 | 5 as wire:
                length = 8 if wire == 1 else 4
                value, at = int.from_bytes(content[at : at + length], "little"), at + length
            case wire:
                raise ValueError(f"a record has the unknown type {wire}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return an integer of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("an integer is too long")


@cache
def _table() -> tuple[int, ...]:
    """Return the remainders of all bytes for the polynomial of Castagnoli."""
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


def _crc32c(content: bytes) -> int:
    table, value = _table(), 0xFFFFFFFF
    for byte in content:
        value = table[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _masked(value: int) -> int:
    """Return a checksum as it is stored: rotated, and with a constant added."""
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
