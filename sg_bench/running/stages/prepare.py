"""Preparation of a data set's images as a store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from sg_bench.data.sources.base import Case, Source
from sg_bench.data.store import damaged_files, finish, has_case, noted_skips, skip_case, skipped_cases, write_case
from sg_bench.errors import DataError
from sg_bench.planning import TypedJob, is_built, open_source, store_recipe
from sg_bench.recipes import StoreRecipe
from sg_bench.training.loop import ProgressCallback
from sg_bench.workspace import Workspace


def build_store(job: TypedJob[StoreRecipe], workspace: Workspace, progress: ProgressCallback) -> None:
    """Prepare all cases of a store, or those that a finished one had to skip, and write its index."""
    final = workspace.path("stores", job.key)
    built = is_built(workspace, job)
    if built and not skipped_cases(final):
        return
    cases = cases_of(job)
    with nullcontext(final) if built else workspace.building("stores", job.key) as folder:
        prepare_cases(job, workspace, cases, retry=False)
        if not built or noted_skips(folder).keys() != {skipped.id for skipped in skipped_cases(folder)}:
            finish(folder, job.recipe.key_content(), [case.id for case in cases])
    progress(len(cases), len(cases))


def prepare_cases(
    job: TypedJob[StoreRecipe], workspace: Workspace, cases: Sequence[Case], *, retry: bool = True
) -> None:
    """Prepare some cases of an unfinished store, or those of a finished one that it had to skip.

    A case that cannot be used is noted with the reason, and the others go on. Finished cases are left as they are, and
    without `retry` noted ones too. Hold the store's lock, so that it is not finished meanwhile.
    """
    from sg_bench.data.notes import prepared_notes
    from sg_bench.data.prepare import prepare

    built = is_built(workspace, job)
    folder = workspace.path("stores", job.key) if built else workspace.partial("stores", job.key)
    folder.mkdir(parents=True, exist_ok=True)
    noted = set() if retry else noted_skips(folder).keys()
    left = {skipped.id for skipped in skipped_cases(folder)} if built else {case.id for case in cases}
    source = _source(job)
    for case in cases:
        if case.id not in left - noted or has_case(folder, case.id):
            continue
        for file in damaged_files(folder, case.id):
            workspace.set_aside("stores", f"{folder.name}/{file}")
        try:
            study = source.load(case)
            prepared = prepare(study, job.recipe.preparation, name=case.id)
            write_case(folder, case, prepared, notes=prepared_notes(case, study, prepared))
        except DataError as error:
            skip_case(folder, case, _from_root(str(error), job.root))


def cases_of(job: TypedJob[StoreRecipe]) -> list[Case]:
    """Return the cases of a store's source.

    Raises:
        DataError: the source has changed since the plan was made.
    """
    source = _source(job)
    if store_recipe(job.recipe.source, source, job.recipe.preparation).key != job.key:
        raise DataError(f"{job.title}: the files have changed since the plan was made", hint="Run the command again")
    return list(source.scan())


def _source(job: TypedJob[StoreRecipe]) -> Source:
    return open_source(job.recipe.source, job.recipe.config, job.root, job.recipe.source)


def _from_root(text: str, root: Path | None) -> str:
    """Return `text` with paths relative to the data set's folder: an index must not disclose local paths."""
    return text.replace(f"{root}/", "") if root else text
