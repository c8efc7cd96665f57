"""The pretraining methods, and the base classes of a new one. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.methods.base import (
        Batch,
        Crops,
        Losses,
        Method,
        Patterns,
        PretrainingSampling,
        Promise,
        Ranks,
        ReadWeights,
        Restoration,
        WholeVolumes,
    )
    from sg_bench.methods.configs import CropsConfig, MethodConfig
    from sg_bench.methods.view_configs import ViewsConfig
    from sg_bench.methods.views import Projected, StudentAndTeacher, TeacherMethod, ViewsMethod
    from sg_bench.transforms.base import Params

__all__ = [
    "Batch",
    "Crops",
    "CropsConfig",
    "Losses",
    "Method",
    "MethodConfig",
    "Params",
    "Patterns",
    "PretrainingSampling",
    "Projected",
    "Promise",
    "Ranks",
    "ReadWeights",
    "Restoration",
    "StudentAndTeacher",
    "TeacherMethod",
    "ViewsConfig",
    "ViewsMethod",
    "WholeVolumes",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(
            (
                "Batch",
                "Crops",
                "Losses",
                "Method",
                "Params",
                "Patterns",
                "PretrainingSampling",
                "Promise",
                "Ranks",
                "ReadWeights",
                "Restoration",
                "WholeVolumes",
            ),
            "base",
        ),
        **dict.fromkeys(("CropsConfig", "MethodConfig"), "configs"),
        "ViewsConfig": "view_configs",
        **dict.fromkeys(("Projected", "StudentAndTeacher", "TeacherMethod", "ViewsMethod"), "views"),
    },
)
