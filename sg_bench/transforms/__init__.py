"""The ways to corrupt an image so that a network learns to restore it: batched tensors, on the device that holds them.

`settings` says what can be set and imports nothing heavy; `presets.preset` turns it into a `Corruption`.
"""
