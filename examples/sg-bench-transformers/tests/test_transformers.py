"""Both networks keep the contract of sg-bench."""

import pytest

from sg_bench.testing import check_network

SIZES = {2: (64, 32, 1), 3: (64, 32, 32)}
SMALL = {"monai_swin": {"width": 4}, "monai_vit": {"width": 24, "layers": 2, "heads": 2}}


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", ["monai_swin", "monai_vit"])
def test_it_keeps_the_contract(name, dimension):
    size = SIZES[dimension]
    settings = SMALL[name] | ({"size": size} if name == "monai_vit" else {})
    check_network(name, dimension, settings, shape=size)
