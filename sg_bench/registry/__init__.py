"""Names of methods and sources, and the classes they stand for."""

from sg_bench.registry.base import AddOn, Entry, Registry
from sg_bench.registry.builtin import AUTOENCODER, METHODS, SOURCES
from sg_bench.registry.plugins import PluginCode

__all__ = ["AUTOENCODER", "METHODS", "SOURCES", "AddOn", "Entry", "PluginCode", "Registry"]
