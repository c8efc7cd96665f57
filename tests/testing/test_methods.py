"""Every built-in method keeps the contract, in every dimension that it declares, and with semantics."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sg_bench.errors import UsageError
from sg_bench.registry import METHODS
from sg_bench.testing import check_method, parametrize_with_checks

pytestmark = pytest.mark.xdist_group("kit")


@parametrize_with_checks("inpainting", dimensions=[3])
def test_one_built_in_method_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(*METHODS.names())
def test_every_built_in_method_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks("rotation+semantics", "models_genesis+semantics", "dino+semantics", "voco+semantics")
def test_semantics_keep_the_contract_with_losses_of_classes_images_views_and_pieces(check: Callable[[], None]) -> None:
    check()


@pytest.mark.cluster
@parametrize_with_checks("inpainting", dimensions=[3], ray=True)
def test_ray_gives_the_same_bits(check: Callable[[], None]) -> None:
    check()


def test_a_dimension_that_is_not_declared_is_refused() -> None:
    with pytest.raises(UsageError, match=r"method 'rubiks_cube' has no 2D version\. It declares \[3\]"):
        check_method("rubiks_cube", 2)


def test_a_method_that_does_not_pretrain_is_asked_for_no_loss() -> None:
    ids = [parameter.id for parameter in parametrize_with_checks("scratch", dimensions=[3]).args[1]]
    assert "3D-it_exports_every_tensor" in ids
    assert "3D-its_loss_falls" not in ids
