"""Weights that others published: which there are, their files, how they are read, and how ours are written out."""
