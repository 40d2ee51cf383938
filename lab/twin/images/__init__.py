"""The twin's images: compiled from small sources, kept with their descriptions and PDBs as data.

`lab.twin.images.make.build` makes the data; here it is only read.
"""

from lab.twin.images.blueprints import Blueprint, Function, Op, blueprint, pdb

__all__ = ["Blueprint", "Function", "Op", "blueprint", "pdb"]
