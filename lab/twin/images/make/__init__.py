"""Making the twin's images from their sources: at development time only, with clang 19 and the LLVM tools."""

from pathlib import Path

FACTS = Path(__file__).with_name("facts.json.xz")
SOURCE = Path(__file__).parents[1] / "source"
DATA = Path(__file__).parents[1] / "data"
LLVM = Path("/usr/lib/llvm-19/bin")
COMPILER = "clang version 19.1.7"
"""What the data was made with; another version may choose other registers."""
