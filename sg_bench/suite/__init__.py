"""A suite: its settings, tasks and data, and the reading of its file."""

from sg_bench.suite.claims import Claim
from sg_bench.suite.reading import load_suite, parse_setting
from sg_bench.suite.seeds import MAX_SEED, parse_seeds
from sg_bench.suite.settings import CheckName, Corpus, CorpusKey, MethodChoice, NetworkSetting, Suite
from sg_bench.suite.targets import claims_digest, corpus_task, data_sources, suite_digest, suite_tasks

__all__ = [
    "MAX_SEED",
    "CheckName",
    "Claim",
    "Corpus",
    "CorpusKey",
    "MethodChoice",
    "NetworkSetting",
    "Suite",
    "claims_digest",
    "corpus_task",
    "data_sources",
    "load_suite",
    "parse_seeds",
    "parse_setting",
    "suite_digest",
    "suite_tasks",
]
