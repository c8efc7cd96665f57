"""The hash of an id never changes: the crops drawn from a case depend on it."""

from __future__ import annotations

import pytest

from sg_bench.data.identity import stable_hash


@pytest.mark.parametrize(
    ("text", "value"),
    [("", 0xE3B0C44298FC1C14), ("patient-3", 0x9741499AAA805AF7), ("Größe", 0xAEDC3F80989A6546)],
)
def test_hashes_are_the_first_64_bits_of_sha_256(text: str, value: int) -> None:
    assert stable_hash(text) == value
