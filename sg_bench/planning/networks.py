"""The network of each method of a suite, and whether it can take the images that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sg_bench.config import Shape, SpatialDims
from sg_bench.errors import DataError, UsageError
from sg_bench.methods.configs import MethodConfig
from sg_bench.methods.published_config import PublishedConfig
from sg_bench.networks.configs import NetworkChoice, papers_network
from sg_bench.registry import NETWORKS, PluginCode
from sg_bench.suite import NetworkSetting
from sg_bench.tasks import validated


def chosen_network(
    setting: NetworkSetting, dimension: SpatialDims, width: int, plugin: PluginCode | None
) -> NetworkChoice:
    """Return the network of a suite's setting; the papers' are of the suite's `width` unless they have their own.

    Raises:
        UsageError: there is no such network, or no such setting of it.
        DataError: it has no version of this dimension.
    """
    kind: Any = NETWORKS.config(setting.name)
    if dimension not in kind.dimensions:
        raise DataError(
            f"network '{setting.name}' has no {dimension}D version",
            hint="Choose one for each dimension: network: {3d: ..., 2d: ...}",
        )
    given: dict[str, Any] = {"dimension": dimension}
    if setting.name == papers_network(dimension).name:
        given["width"] = width
    config = validated(kind, {**given, **setting.config}, f"config of network '{setting.name}'")
    return NetworkChoice(name=setting.name, plugin=plugin, config=config)


def network_settings(choice: NetworkChoice) -> dict[str, Any]:
    """Return the settings of a method that give it a network: for the papers' two their `width`, as before."""
    config = choice.config
    width: int | None = getattr(config, "width", None)
    if width and choice == papers_network(config.dimension, width):
        return {"width": width}
    return {"network": choice}


def check_own_settings(own: Mapping[str, Any], title: str, given: Mapping[str, Any]) -> None:
    """Check that a method's own settings do not set its network, of which `network_settings` are given.

    Raises:
        UsageError: they do.
    """
    if "network" in own:
        raise UsageError(
            f"config of method '{title}': the network is not one of its settings",
            hint="Write `network` next to `config`",
        )
    if "network" in given and "width" in own:
        raise UsageError(
            f"config of method '{title}': `width` is that of the papers' networks, not of '{given['network']}'",
            hint="Leave it out, or set it among the network's settings",
        )


def check_network(config: MethodConfig, name: str, choice: NetworkChoice) -> None:
    """Check that a method is defined for a network.

    Raises:
        DataError: it needs another one.
    """
    if isinstance(config, PublishedConfig) and config.chosen_network != choice:
        needed = config.chosen_network
        raise DataError(
            f"the weights '{config.weights}' are of network '{needed}' ({_described(needed)}), and the suite's network "
            f"is '{choice}' ({_described(choice)})",
            hint="Give the method its own `network`, or remove it",
        )
    if config.networks and choice.name not in config.networks:
        raise DataError(
            f"method '{name}' is not defined for network '{choice}', only for {', '.join(sorted(config.networks))}",
            hint="Give the method its own `network`, or remove it",
        )


def for_channels(config: MethodConfig, channels: int) -> MethodConfig:
    """Return a method's config with its network for images of several channels, if the corpus has several."""
    choice = config.chosen_network
    if channels == 1 or choice.config.in_channels == channels:
        return config
    network = choice.model_copy(update={"config": choice.config.model_copy(update={"in_channels": channels})})
    return config.model_copy(update={"network": network})


def check_one_channel(channels: int, where: str) -> None:
    """Check that a corpus for self-discovery has one channel.

    Raises:
        DataError: it has several.
    """
    if channels > 1:
        raise DataError(
            f"{where} compares patients by images of one channel, and the corpus has {channels}",
            hint="Choose a method without patterns, or a corpus of one channel",
        )


def check_size(choice: NetworkChoice, shape: Shape | None, where: str) -> None:
    """Check that a network can take images of `shape`.

    Raises:
        UsageError: it cannot; the message names the allowed sides.
    """
    reason = choice.config.refusal(shape) if shape else ""
    if shape and reason:
        size = " x ".join(map(str, shape[: choice.config.dimension]))
        raise UsageError(
            f"{where}: network '{choice}' cannot take images of {size}: {reason}",
            hint="Change their size, the network's settings, or the network",
        )


def _described(choice: NetworkChoice) -> str:
    own = choice.config.key_content(without=("dimension", "in_channels", "version"))
    return ", ".join(f"{name} {value}" for name, value in own.items())
