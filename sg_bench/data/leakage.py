"""Whether a pretraining corpus holds what a task is tested on: by id, by patient, and by the images themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sg_bench.data.fingerprint import matches
from sg_bench.registry import SOURCES


class NamedCase(Protocol):
    """What is compared of a case; the `fingerprint` that stores add is compared where both sides have it."""

    @property
    def id(self) -> str:
        """As the data set calls the image."""

    @property
    def patient(self) -> str:
        """As the data set calls the patient."""


@dataclass(frozen=True)
class CorpusOverlap:
    """Which test cases a corpus holds."""

    corpus: str
    """What messages call it."""
    total: int
    """Number of test cases."""
    ids: tuple[str, ...] = ()
    """Test cases whose id the corpus has."""
    patients: tuple[str, ...] = ()
    """Test cases whose patient the corpus has, by the same image or another."""
    content: tuple[str, ...] = ()
    """Test cases whose image the corpus has, whatever it is called there."""
    same_names: bool = False
    """Whether ids and patients were compared: elsewhere they mean nothing."""
    fingerprinted: int = 0
    """Number of test cases whose image was compared with at least one of the corpus."""

    @property
    def cases(self) -> tuple[str, ...]:
        """Return the test cases that are found by any means, sorted."""
        return tuple(sorted({*self.ids, *self.patients, *self.content}))

    @property
    def examples(self) -> tuple[str, ...]:
        """Return three of them at most."""
        return self.cases[:3]

    @property
    def message(self) -> str:
        """Return one line on what was found, "" for nothing."""
        if not self.cases:
            return ""
        held = {*self.ids, *self.content}
        others = len(set(self.patients) - held)
        ways = [f"{len(found)} by {way}" for way, found in (("id", self.ids), ("content", self.content)) if found]
        images = f"{len(held)} of {self.total} test cases ({', '.join(ways)})" if held else ""
        relatives = f"other images of the patients of {others} {'more' if held else f'of {self.total} test cases'}"
        return f"the corpus {self.corpus} holds {' and '.join(filter(None, [images, relatives if others else '']))}"


def overlap(
    corpus: Sequence[NamedCase], test: Sequence[NamedCase], same_names: bool, *, name: str = ""
) -> CorpusOverlap:
    """Compare a corpus with a task's test cases.

    Args:
        corpus: all cases that pretraining has seen, those that it validates on included.
        test: the cases that the task is tested on.
        same_names: whether equal ids, and equal patients, mean the same image and the same person.
        name: what to call the corpus.

    Raises:
        DataError: a fingerprint was made by another version of the program.
    """
    ids = {case.id for case in corpus} if same_names else set[str]()
    patients = {case.patient for case in corpus} - {""} if same_names else set[str]()
    ours, theirs = _fingerprints(corpus), _fingerprints(test)
    found = {place for _, place in matches(ours, theirs)}
    kinds = {text[:1] for text in ours} - {""}
    return CorpusOverlap(
        corpus=name,
        total=len(test),
        ids=tuple(sorted(case.id for case in test if case.id in ids)),
        patients=tuple(sorted(case.id for case in test if case.patient in patients)),
        content=tuple(sorted(test[place].id for place in found)),
        same_names=same_names,
        fingerprinted=sum(text[:1] in kinds for text in theirs),
    )


def same_names(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two stores, told by their recipes, call one image and one patient alike.

    They do if their sources share a namespace, or if both were made of the very same files.
    """
    spaces = [SOURCES.load(recipe["source"]).namespace for recipe in (first, second)]
    files = [(recipe["source"], recipe["manifest"]["sha256"]) for recipe in (first, second)]
    return (bool(spaces[0]) and spaces[0] == spaces[1]) or files[0] == files[1]


def _fingerprints(cases: Sequence[NamedCase]) -> list[str]:
    return [str(getattr(case, "fingerprint", "")) for case in cases]
