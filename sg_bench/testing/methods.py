"""The conformance kit for methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sg_bench.testing import contract, learning
from sg_bench.testing.checks import CheckRunner, ContractCheck, ContractResult
from sg_bench.testing.subject import Subject, one_thread

SEEDED = "one_seed_gives_one_outcome"
HOOKED = "its_hooks_are_functions_of_the_network"
LEARNS = {
    "loss": learning.check_its_loss_falls,
    "measure": learning.check_its_measure_rises,
    "probe": learning.check_its_probe_improves,
}
"""The check of each promise that a method can make."""


def checks_of(subject: Subject, *, ray: bool = False) -> Iterator[ContractCheck[Subject]]:
    """Yield the checks that apply to a method, each after those that it depends on."""
    learns = ContractCheck(LEARNS[subject.method().promise.of])
    yield ContractCheck(contract.check_its_config_survives_json)
    yield ContractCheck(contract.check_its_config_needs_no_torch)
    yield ContractCheck(contract.check_it_refuses_other_dimensions)
    yield ContractCheck(contract.check_one_seed_gives_one_outcome)
    yield ContractCheck(contract.check_another_seed_gives_another_outcome)
    yield ContractCheck(contract.check_its_batches_are_well_formed)
    yield ContractCheck(contract.check_it_leaves_its_images_alone)
    yield ContractCheck(contract.check_a_sample_does_not_depend_on_its_neighbours, after=(SEEDED,))
    yield ContractCheck(contract.check_its_loss_is_the_mean_that_it_declares, after=(SEEDED,))
    yield ContractCheck(contract.check_its_hooks_are_functions_of_the_network, after=(SEEDED,))
    yield ContractCheck(contract.check_it_exports_every_tensor)
    yield ContractCheck(contract.check_what_it_restores_is_an_image)
    if subject.method().stages():
        yield learns
        yield ContractCheck(learning.check_it_resumes_bit_for_bit, after=(SEEDED, HOOKED, learns.name))
    yield ContractCheck(learning.check_it_leaves_global_randomness_alone, after=(learns.name,))
    if "weights" in subject.config.needs:  # published weights must be fetched first
        return
    yield ContractCheck(learning.check_it_runs_in_a_worker_process, after=(learns.name,))
    if ray:
        yield ContractCheck(learning.check_it_runs_on_ray, after=(SEEDED, learns.name))


def method_check_runner(
    name: str,
    dimension: int,
    *,
    settings: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    ray: bool = False,
) -> CheckRunner[Subject]:
    """Return a runner of the checks of one method in one dimension; nothing has been run yet.

    Args:
        name: as a suite names it, such as "denoising" or "rotation+semantics".
        dimension: 2 or 3, one that its config declares.
        settings: override the kit's small settings where the method needs others.
        expected_failures: the reasons of known failures, by the check's name.
        ray: whether to run it on Ray too, which takes some twenty seconds more.

    Raises:
        UsageError: there is no such method, dimension or check, or the method cannot be made.
    """
    subject = Subject(name, dimension, settings or {})
    return CheckRunner(subject, checks_of(subject, ray=ray), expected_failures, one_thread)


def check_method(
    name: str,
    dimension: int,
    *,
    settings: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    ray: bool = False,
) -> list[ContractResult]:
    """Run all checks of a method and return their results; arguments and errors are those of `method_check_runner`.

    In a script, call it under `if __name__ == "__main__"`: it starts a worker process, which imports the script.
    """
    runner = method_check_runner(name, dimension, settings=settings, expected_failures=expected_failures, ray=ray)
    return runner.run_all()
