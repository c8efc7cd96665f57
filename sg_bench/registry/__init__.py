"""Names of methods, networks and sources, and the classes they stand for."""

from sg_bench.registry.base import AddOn, Entry, Registry
from sg_bench.registry.builtin import AUTOENCODER, METHODS, NETWORKS, SOURCES
from sg_bench.registry.plugins import PluginCode

__all__ = ["AUTOENCODER", "METHODS", "NETWORKS", "SOURCES", "AddOn", "Entry", "PluginCode", "Registry"]
