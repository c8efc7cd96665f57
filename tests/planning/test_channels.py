"""A method that pretrains on a corpus of several channels has a network for as many."""

from __future__ import annotations

import pytest

from sg_bench.errors import DataError
from sg_bench.methods.configs import ModelsGenesisConfig
from sg_bench.planning.networks import check_one_channel, for_channels
from sg_bench.registry import METHODS


def test_the_network_takes_the_channels_of_the_corpus_and_one_channel_changes_no_key() -> None:
    config = ModelsGenesisConfig()
    assert for_channels(config, 1) is config
    four = for_channels(config, 4)
    assert four.chosen_network.config.in_channels == 4
    assert METHODS.load("models_genesis")(four).network().in_channels == 4
    assert four.key_json != config.key_json
    assert type(config).model_validate(four.key_content()).key_json == four.key_json


def test_patterns_are_discovered_in_one_channel_only() -> None:
    check_one_channel(1, "here")
    with pytest.raises(DataError, match="self-discovery of 'x' compares patients by images of one channel"):
        check_one_channel(4, "self-discovery of 'x'")
