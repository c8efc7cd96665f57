"""Pretrainings on Ray Train; nothing here starts Ray."""

from __future__ import annotations

from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.planning import Job
from sg_bench.recipes import DiscoveryRecipe
from sg_bench.running.cluster.trainings import on_train
from tests.recipes import corpus_recipe, pretraining_recipe


def test_ray_train_runs_what_has_a_corpus_to_train_on() -> None:
    discovery = DiscoveryRecipe(settings=DiscoverySettings(), corpus=corpus_recipe())
    assert on_train(Job(pretraining_recipe("rotation", corpus_recipe()), (), "pretrain"))
    assert not on_train(Job(pretraining_recipe("scratch"), (), "scratch"))
    assert not on_train(Job(discovery, (), "discover"))
