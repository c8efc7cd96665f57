"""A worked example of networks for sg-bench in a package of their own, found by their entry points."""

from sg_bench.registry import Entry

SWIN = Entry(
    "sg_bench_transformers.config:SwinConfig",
    "sg_bench_transformers.swin:Swin",
    "MONAI's Swin transformer with the generic decoder",
)
VIT = Entry(
    "sg_bench_transformers.config:PlainConfig",
    "sg_bench_transformers.vit:Plain",
    "MONAI's vision transformer, for one size of image, with the generic decoder",
)
