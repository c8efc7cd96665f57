"""Transforms that corrupt images for a network to restore. They act on batched tensors, on the tensors' own device.

`settings` holds the settings and imports no torch; `presets.preset` builds a `Corruption` from them.
"""
