"""What a submission says of itself: its suite, tasks, methods, data and planned runs, and a digest of each file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.networks import network_identity

MANIFEST: Final = "manifest.json"
SUBMISSION_SCHEMA: Final = 1
Digest = Annotated[str, Field(pattern=re.compile(r"^[0-9a-f]{64}$"))]
ShortText = Annotated[str, Field(max_length=300)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class _Stated(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class RunCounts(_Stated):
    """The planned runs of one method on one task."""

    method: ShortText
    task: ShortText
    planned: Count
    done: Count
    failed: Count
    missing: Count
    """Runs whose data are absent."""

    @property
    def absent(self) -> int:
        """Return the number of runs that nothing has been recorded of, though their data are there."""
        return max(0, self.planned - self.done - self.failed - self.missing)

    @property
    def lacking(self) -> str:
        """Return what is not done, as "1 failed, 2 not run"; empty if all is."""
        parts = (("failed", self.failed), ("without data", self.missing), ("not run", self.absent))
        return ", ".join(f"{number} {what}" for what, number in parts if number)


class StatedSuite(_Stated):
    """The suite of a submission."""

    name: ShortText
    digest: Digest
    """Of all its settings, with its claims."""
    claims: Digest


class StatedData(_Stated):
    """A data set that runs of a submission used."""

    source: ShortText
    use: list[Literal["pretraining", "task"]]
    cases: Annotated[list[Count], Field(max_length=100)]
    """In each use."""
    licence: ShortText
    """Empty if sg-bench does not know it."""


class SubmissionManifest(_Stated):
    """The content of a submission's manifest.json."""

    submission: Literal[1]
    """Version of this format."""
    name: ShortText
    suite: StatedSuite
    versions: Annotated[dict[ShortText, list[ShortText]], Field(max_length=100)]
    """Of sg-bench and PyTorch, those of the runs."""
    tasks: Annotated[dict[ShortText, dict[str, Any]], Field(max_length=1000)]
    methods: Annotated[dict[ShortText, dict[str, Any]], Field(max_length=1000)]
    data: Annotated[list[StatedData], Field(max_length=1000)]
    runs: Annotated[list[RunCounts], Field(max_length=100_000)]
    allowed: Annotated[list[ShortText], Field(max_length=1000)] = []
    """Texts that the submitter has declared harmless."""
    files: Annotated[dict[ShortText, Digest], Field(max_length=200_000)]
    """SHA-256 of each further file."""


def describe(evidence: Evidence) -> dict[str, Any]:
    """Return the parts of a manifest that follow from the records of finished runs."""
    tasks, methods, versions = dict[str, Any](), dict[str, Any](), dict[str, set[str]]()
    data: dict[str, dict[str, Any]] = {}
    for (method, task), runs in evidence.runs.items():
        for run in runs:
            recipe, software = run.record["recipe"], (run.record.get("ran") or {}).get("software") or {}
            card, initialisation = recipe["task"], recipe["initialisation"]
            tasks[task] = {name: card.get(name) for name in ("name", "version", "headline")}
            tasks[task]["data"] = recipe["store"]["source"]
            methods.setdefault(method, {"method": initialisation["method"], "network": "", "pretrained_on": []})
            config = initialisation.get("config") or {}
            methods[method]["network"] = network_identity(config)[0] if config else ""
            _use(data, "task", recipe["store"])
            for corpus in corpora_of(initialisation):
                _use(data, "pretraining", corpus)
                names = methods[method]["pretrained_on"]
                names.extend({corpus["source"]}.difference(names))
            for name in ("sg-bench", "torch"):
                versions.setdefault(name, set()).update({software[name]} if name in software else ())
    return {
        "tasks": tasks,
        "methods": methods,
        "versions": {name: sorted(found) for name, found in versions.items()},
        "data": [
            {"source": source, "use": sorted(found), "cases": [found[use] for use in sorted(found)]}
            | {"licence": licence_of(source)}
            for source, found in sorted(data.items())
        ],
    }


def corpora_of(initialisation: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Yield the recipe of each store that an initialisation saw: its corpus, and that of its patterns."""
    for part in (initialisation, initialisation.get("patterns") or {}):
        store = (part.get("corpus") or {}).get("store")
        if store:
            yield store


def licence_of(source: str) -> str:
    """Return the licence of a data set as sg-bench knows it, or ""."""
    from sg_bench.registry import SOURCES

    if source == "phantom":
        return "generated"
    about = getattr(SOURCES.load(source), "about", None) if source in SOURCES.names() else None
    return about.licence[:300] if about else ""


def _use(data: dict[str, dict[str, Any]], use: str, store: Mapping[str, Any]) -> None:
    data.setdefault(store["source"], {})[use] = int((store.get("manifest") or {}).get("cases", 0))
