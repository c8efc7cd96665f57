"""The settings of the broken methods, and their entries."""

from __future__ import annotations

from sg_bench.config import CropRule, Positive
from sg_bench.methods.configs import MethodConfig
from sg_bench.registry import Entry


class BrokenConfig(MethodConfig):
    """Settings of all of them."""

    crops: CropRule = CropRule()
    per_volume: Positive = 32


class ForgetfulConfig(BrokenConfig):
    """Says another thing each time that it is asked."""

    def model_dump(self, **options):
        return super().model_dump(**options) | {"per_volume": self.per_volume + 1}


class GenerousConfig(BrokenConfig):
    """Declares one dimension and takes both."""

    dimensions = frozenset({3})

    def _has_dimension(self):  # type: ignore[override]
        return self


FINDINGS = {
    "TouchesGlobalRandomness": "it_leaves_global_randomness_alone",
    "ChangesItsImages": "it_leaves_its_images_alone",
    "IsNotDeterministic": "one_seed_gives_one_outcome",
    "ExportsTooLittle": "it_exports_every_tensor",
    "ExportsWhatItDidNotTrain": "it_exports_every_tensor",
    "LosesItself": "its_loss_falls",
    "LearnsNothing": "its_loss_falls",
    "ComparesItsSamples": "its_loss_is_the_mean_that_it_declares",
    "LeavesTheRange": "its_batches_are_well_formed",
    "RestoresLogits": "what_it_restores_is_an_image",
    "MixesItsSamples": "a_sample_does_not_depend_on_its_neighbours",
    "IgnoresItsSeed": "another_seed_gives_another_outcome",
    "RemembersItsSteps": "it_resumes_bit_for_bit",
    "CountsInItsLosses": "its_hooks_are_functions_of_the_network",
    "DrawsAfterItsSteps": "its_hooks_are_functions_of_the_network",
    "PromisesAMeasure": "its_measure_rises",
    "PromisesAProbe": "its_probe_improves",
    "LearnsNothingFromItsViews": "its_probe_improves",
    "FailsAtWork": "it_runs_in_a_worker_process",
    "Forgetful": "its_config_survives_json",
    "Generous": "it_refuses_other_dimensions",
    "Heavy": "its_config_needs_no_torch",
}
"""By method, the one check that is meant to find it out; the last three have sound classes and broken settings."""


def __getattr__(name: str) -> Entry:
    """Return the entry of a method."""
    if name not in (*FINDINGS, "Sound"):
        raise AttributeError(name)
    config = {
        "Forgetful": "broken_configs:ForgetfulConfig",
        "Generous": "broken_configs:GenerousConfig",
        "Heavy": "broken:HeavyConfig",
    }
    target = "Sound" if name in config else name
    return Entry(config.get(name, "broken_configs:BrokenConfig"), f"broken:{target}", "broken")
