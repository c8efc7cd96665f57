"""Whatever a task card holds, reading returns a task or raises one line that names the card, in bounded time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sg_bench import resources
from sg_bench.errors import UsageError
from sg_bench.tasks import read_task

CARDS = {name: path.read_bytes() for name, path in sorted(resources.task_cards().items())}
EXAMPLES = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4),
    max_leaves=12,
)
ALIASES = b"a: &a [x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (new, new, b"*%c," % old * 99) for old, new in zip(b"abcdefgh", b"bcdefghi", strict=True)
)
"""Each line 99 times the last one: 10^16 values."""


def refused_in_one_line(content: bytes) -> str:
    """Return the message of the error of a card with this content, "" if it is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_bytes(content)
        try:
            read_task(str(path))
        except UsageError as error:
            message = str(error)
        else:
            return ""
    assert "mine.yaml" in message
    assert len(message.splitlines()) == 1
    assert len(message) < 2000
    return message


@EXAMPLES
@given(st.sampled_from(sorted(CARDS)), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 256))))
def test_damaged_cards_are_read_or_refused_in_one_line(name: str, changes: list[tuple[float, int]]) -> None:
    content = CARDS[name]
    for place, value in changes:
        index = int(place * len(content))
        content = content[:index] if value == 256 else content[:index] + bytes([value]) + content[index + 1 :]
    refused_in_one_line(content)


@pytest.mark.slow
@EXAMPLES
@given(st.sampled_from(sorted(CARDS)), st.data())
def test_any_value_of_any_setting_is_read_or_refused_in_one_line(name: str, data: st.DataObject) -> None:
    card: dict[Any, Any] = yaml.safe_load(CARDS[name])
    setting = data.draw(st.sampled_from([*card, "classes", "regions", "findings", "label", "value", "surprise"]))
    card[setting] = data.draw(VALUES)
    refused_in_one_line(yaml.safe_dump(card, allow_unicode=True).encode("utf-8", "surrogatepass"))


@EXAMPLES
@given(VALUES)
def test_any_yaml_is_refused_in_one_line(content: Any) -> None:
    assert refused_in_one_line(yaml.safe_dump(content).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[" * 100_000, "more than 50 levels"),
        (b"a: " * 10_000, "mapping values are not allowed here"),
        (b"a: &a [*a]\n", "more than 50 levels"),
        (ALIASES, "50000 values"),
        (b"#" * 2**21, "bytes"),
        (b"name: x\nname: y\n", "'name' is given twice"),
        (b"name: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
        (b"name: 2001-99-99\n", "month must be in 1..12"),
        (b"? [a]\n: b\n", "unhashable"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"name: x\n\x00", "not valid YAML"),
    ],
    ids=["brackets", "colons", "itself", "aliases", "length", "twice", "object", "date", "key", "encoding", "zero"],
)
def test_hostile_cards_are_refused_at_once(content: bytes, expected: str) -> None:
    assert expected in refused_in_one_line(content)


def test_all_missing_settings_are_named_together() -> None:
    message = refused_in_one_line(b"kind: segmentation\n")
    assert all(f"'{name}'" in message for name in ("title", "loss", "headline", "data", "sampling"))
    assert "missing" in message
