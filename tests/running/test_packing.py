from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sg_bench.running.packing import (
    CONTEXT_MIB,
    MARGIN,
    Card,
    CardLoad,
    card_share,
    choose_card,
    jobs_on_card,
    list_cards,
    measuring_first,
    read_cards,
)

H200 = 143_000.0
LISTED = """\
0, GPU-aaaa-1, NVIDIA H200, 143771, 143000
1, GPU-bbbb-2, NVIDIA H200, 143771, 70000
2, GPU-cccc-3, NVIDIA T4, 15360, [N/A]
"""


@pytest.mark.parametrize(
    ("peak", "free", "cores", "jobs"),
    [
        (None, H200, 16, 1),
        (92.0, H200, 16, 16),
        (92.0, H200, 300, 234),
        (3482.0, H200, 16, 16),
        (16_998.0, H200, 16, 6),
        (36_500.0, H200, 16, 3),
        (3482.0, 8192.0, 16, 1),
        (16_998.0, 8192.0, 16, 1),
        (92.0, 0.0, 16, 1),
    ],
)
def test_as_many_jobs_share_a_card_as_fit_and_never_more_than_the_cores(
    peak: float | None, free: float, cores: int, jobs: int
) -> None:
    assert jobs_on_card(peak, free, cores) == jobs
    if peak is not None and jobs > 1:
        assert jobs * (MARGIN * peak + CONTEXT_MIB) <= free


@pytest.mark.parametrize("cores", range(1, 20))
def test_shares_of_a_card_add_up_to_no_more_than_the_card(cores: int) -> None:
    share = card_share(92.0, H200, cores)
    assert 1 - 1e-3 * cores <= share * cores <= 1
    assert card_share(None, H200, cores) == 1


def test_a_job_that_was_not_measured_has_an_empty_card_to_itself() -> None:
    assert choose_card(None, [CardLoad(H200, (92.0,)), CardLoad(H200)]) == 1
    assert choose_card(None, [CardLoad(H200, (92.0,)), CardLoad(H200, (None,))]) is None
    assert choose_card(92.0, [CardLoad(H200, (None,))]) is None


def test_a_job_goes_to_the_card_with_most_memory_left_and_waits_where_none_has_enough() -> None:
    assert choose_card(3000.0, [CardLoad(H200), CardLoad(H200)]) == 0
    assert choose_card(3000.0, [CardLoad(H200, (3000.0,)), CardLoad(H200)]) == 1
    assert choose_card(3000.0, [CardLoad(H200, (3000.0, 3000.0)), CardLoad(H200, (16_000.0,))]) == 0
    assert choose_card(10_000.0, [CardLoad(24_000.0, (10_000.0,))]) is None
    assert choose_card(9_000.0, [CardLoad(24_000.0, (9_000.0,))]) == 0


def test_idle_processes_keep_their_memory_of_cuda() -> None:
    assert choose_card(9_000.0, [CardLoad(24_000.0, (9_000.0,), processes=16)]) is None


def test_what_is_too_large_for_every_card_is_tried_alone() -> None:
    assert choose_card(99_000.0, [CardLoad(8_192.0), CardLoad(24_000.0)]) == 1
    assert choose_card(99_000.0, [CardLoad(8_192.0, (92.0,)), CardLoad(24_000.0, (92.0,))]) is None


@pytest.mark.parametrize("peaks", [(92.0,), (3482.0,), (16_998.0, 3482.0, 92.0)])
def test_what_is_placed_one_by_one_fits_into_the_memory_of_each_card(peaks: tuple[float, ...]) -> None:
    cards = [CardLoad(H200), CardLoad(70_000.0)]
    for number in range(200):
        peak = peaks[number % len(peaks)]
        chosen = choose_card(peak, cards)
        if chosen is None:
            break
        held = (*cards[chosen].peaks_mib, peak)
        cards[chosen] = CardLoad(cards[chosen].free_mib, held, len(held))
    for card in cards:
        assert len(card.peaks_mib) > 1
        assert sum(MARGIN * (peak or 0) + CONTEXT_MIB for peak in card.peaks_mib) <= card.free_mib


def test_one_job_of_each_kind_that_was_not_measured_goes_first() -> None:
    kinds: dict[str, Any] = {"a1": "a", "b1": None, "a2": "a", "c1": "c", "c2": "c", "b2": None}
    assert measuring_first(list(kinds), lambda job: kinds[job]) == (["a1", "c1"], ["b1", "a2", "c2", "b2"])
    assert measuring_first([], lambda job: None) == ([], [])


def test_cards_are_read_from_the_list_of_the_driver() -> None:
    first, second, third = read_cards(LISTED)
    assert first == Card("GPU-aaaa-1", "NVIDIA H200", 143_771, 143_000)
    assert second.free_mib == 70_000
    assert (third.name, third.free_mib) == ("NVIDIA T4", 0)
    assert read_cards("No devices were found\n") == []


@pytest.mark.parametrize(
    ("visible", "ids"),
    [
        ("1,0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("GPU-cccc", ["GPU-cccc-3"]),
        ("0,7,1", ["GPU-aaaa-1"]),
        ("", []),
        ("-1", []),
        ("MIG-aaaa", []),
    ],
)
def test_only_cards_that_are_visible_to_cuda_are_used(visible: str, ids: list[str]) -> None:
    assert [card.id for card in read_cards(LISTED, visible)] == ids


class TestListing:
    @pytest.fixture(autouse=True)
    def two_cards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    def answer(self, monkeypatch: pytest.MonkeyPatch, given: str | Exception) -> None:
        def run(*arguments: Any, **options: Any) -> Any:
            if isinstance(given, Exception):
                raise given
            return SimpleNamespace(stdout=given)

        monkeypatch.setattr(subprocess, "run", run)

    def test_it_needs_a_pytorch_that_can_use_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, LISTED)
        assert [card.name for card in list_cards()] == ["NVIDIA H200", "NVIDIA H200"]
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        assert list_cards() == []

    @pytest.mark.parametrize("given", ["", FileNotFoundError("nvidia-smi"), subprocess.TimeoutExpired("nvidia-smi", 1)])
    def test_a_card_of_unknown_memory_runs_one_job_at_a_time(
        self, monkeypatch: pytest.MonkeyPatch, given: str | Exception
    ) -> None:
        self.answer(monkeypatch, given)
        cards = list_cards()
        assert [card.id for card in cards] == ["0", "1"]
        loads = [CardLoad(card.free_mib) for card in cards]
        assert choose_card(92.0, loads) == 0
        assert choose_card(92.0, [CardLoad(0.0, (92.0,)), *loads[1:]]) == 1
        assert choose_card(92.0, [CardLoad(0.0, (92.0,)), CardLoad(0.0, (92.0,))]) is None
