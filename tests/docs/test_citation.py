"""CITATION.cff names this version, and the papers of all methods, networks and data sets."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from sg_bench import __version__
from sg_bench.data.catalogue import data_set_info
from sg_bench.registry import METHODS, NETWORKS, SOURCES, Registry

CITATION = yaml.safe_load((Path(__file__).resolve().parents[2] / "CITATION.cff").read_text(encoding="utf-8"))
PAPERS = CITATION["references"]
CITED = re.compile(r"([A-Z][a-z]+)(?: et al\.| and [A-Z][a-z]+),? \(?(\d{4})")


def known() -> set[tuple[str, str]]:
    return {(paper["authors"][0].get("family-names", "").split()[0], str(paper["year"])) for paper in PAPERS}


def cited(registry: Registry) -> set[tuple[str, str]]:
    entries = [registry.entry(name).summary for name in registry.names() if not registry.plugin(name)]
    return {found for summary in entries for found in CITED.findall(summary)}


def test_it_names_this_version_and_each_paper_is_complete() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["version"] == __version__
    for paper in PAPERS:
        assert paper["title"]
        assert paper["authors"]
        assert paper.get("url", "").startswith("https://") or "doi" in paper, paper["title"]
    assert len({paper["title"] for paper in PAPERS}) == len(PAPERS)


def test_every_paper_that_a_method_or_network_names_is_cited() -> None:
    wanted = cited(METHODS) | cited(NETWORKS)
    assert len(wanted) > 15
    assert wanted - known() == set()


def test_every_data_set_is_cited() -> None:
    notes = " ".join(paper.get("notes", "") for paper in PAPERS)
    names = [name for name in SOURCES.names() if not SOURCES.plugin(name) and data_set_info(name)]
    assert [name for name in names if f"data {name}" not in notes] == []
