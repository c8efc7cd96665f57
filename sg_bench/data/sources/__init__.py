"""Readers of data sets: one module for each public data set, the built-in phantom, and a folder of files."""
