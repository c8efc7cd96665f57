"""Overlap between what a network was trained on, a corpus or a task's own cases, and the test cases of a task.

It is found by id, by patient and by image content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sg_bench.data.fingerprint import matches
from sg_bench.registry import SOURCES


class NamedCase(Protocol):
    """The fields of a case that are compared; `fingerprint`, which stores add, is compared if both sides have it."""

    @property
    def id(self) -> str:
        """Id of the image in its data set."""

    @property
    def patient(self) -> str:
        """Id of the patient in the data set."""


@dataclass(frozen=True)
class CorpusOverlap:
    """The test cases that a corpus contains."""

    corpus: str
    """Name of the corpus in messages."""
    total: int
    """Number of test cases."""
    ids: tuple[str, ...] = ()
    """Test cases with an id of the corpus."""
    patients: tuple[str, ...] = ()
    """Test cases of a patient of the corpus, by the same image or another."""
    content: tuple[str, ...] = ()
    """Test cases with an image of the corpus, under any id."""
    same_names: bool = False
    """Whether ids and patients were compared, which is meaningful only within one namespace."""
    fingerprinted: int = 0
    """Number of test cases that were compared by content with at least one image of the corpus."""
    alone: tuple[str, ...] = ()
    """Cases of either side without a fingerprint, too small or too uniform: only exact copies of them are found."""
    holder: str = ""
    """What holds the test cases, in messages; "" for the corpus."""

    @property
    def cases(self) -> tuple[str, ...]:
        """Return all overlapping test cases, sorted."""
        return tuple(sorted({*self.ids, *self.patients, *self.content}))

    @property
    def examples(self) -> tuple[str, ...]:
        """Return at most three overlapping test cases."""
        return self.cases[:3]

    @property
    def message(self) -> str:
        """Return a one-line description of the overlap; "" if there is none."""
        if not self.cases:
            return ""
        held = {*self.ids, *self.content}
        others = len(set(self.patients) - held)
        ways = [f"{len(found)} by {way}" for way, found in (("id", self.ids), ("content", self.content)) if found]
        images = f"{len(held)} of {self.total} test cases ({', '.join(ways)})" if held else ""
        relatives = f"other images of the patients of {others} {'more' if held else f'of {self.total} test cases'}"
        holder = self.holder or f"the corpus {self.corpus}"
        return f"{holder} holds {' and '.join(filter(None, [images, relatives if others else '']))}"


def overlap(
    corpus: Sequence[NamedCase],
    test: Sequence[NamedCase],
    same_names: bool,
    *,
    name: str = "",
    holder: str = "",
    fingerprints: bool = True,
) -> CorpusOverlap:
    """Compare a corpus with a task's test cases.

    Args:
        corpus: all cases seen in pretraining, including its validation cases.
        test: the test cases of the task.
        same_names: whether equal ids and patients mean the same image and person.
        name: name of the corpus in messages.
        holder: what holds the test cases in messages, if it is no corpus.
        fingerprints: whether to look for copies after other preparations too, not for exact ones only.

    Raises:
        DataError: a fingerprint was made by another version of the program.
    """
    ids = {case.id for case in corpus} if same_names else set[str]()
    patients = {case.patient for case in corpus} - {""} if same_names else set[str]()
    ours, theirs = _fingerprints(corpus), _fingerprints(test)
    found = {place for _, place in matches(ours, theirs)} if fingerprints else set[int]()
    known = {digest for case in corpus if (digest := _digest(case))}
    found |= {place for place, case in enumerate(test) if _digest(case) in known}
    prepared = bool(known) and all(map(_digest, test))
    kinds = {text[:1] for text in ours} - {""}
    return CorpusOverlap(
        corpus=name,
        total=len(test),
        ids=tuple(sorted(case.id for case in test if case.id in ids)),
        patients=tuple(sorted(case.id for case in test if case.patient in patients)),
        content=tuple(sorted(test[place].id for place in found)),
        same_names=same_names,
        fingerprinted=sum(text[:1] in kinds for text in theirs),
        alone=tuple(sorted({case.id for case in (*corpus, *test) if prepared and not _fingerprints([case])[0]})),
        holder=holder,
    )


def training_overlap(
    training: Sequence[NamedCase], test: Sequence[NamedCase], *, fingerprints: bool = True
) -> CorpusOverlap:
    """Compare the training and validation cases of a task with its test cases, which a split has named apart.

    `fingerprints` as for `overlap`.

    Raises:
        DataError: a fingerprint was made by another version of the program.
    """
    return overlap(training, test, same_names=True, holder="the training part", fingerprints=fingerprints)


def same_names(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether equal ids in the stores of two recipes mean the same image and patient.

    They do if the sources share a namespace, or if both stores were made from the same files.
    """
    spaces = [SOURCES.load(recipe["source"]).namespace for recipe in (first, second)]
    files = [(recipe["source"], recipe["manifest"]["sha256"]) for recipe in (first, second)]
    return (bool(spaces[0]) and spaces[0] == spaces[1]) or files[0] == files[1]


def comparable(*recipes: Mapping[str, Any]) -> bool:
    """Return whether fingerprints distinguish the images of these stores: not those of a source that computes them."""
    return not any(SOURCES.load(recipe["source"]).generated for recipe in recipes)


def _digest(case: NamedCase) -> str:
    """Return the digest of a prepared image; "" of a case that is only named."""
    return str(getattr(case, "image_digest", ""))


def _fingerprints(cases: Sequence[NamedCase]) -> list[str]:
    return [str(getattr(case, "fingerprint", "")) for case in cases]
