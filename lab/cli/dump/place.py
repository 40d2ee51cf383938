"""Addresses as people give them: with a backtick, with 0x, or by a symbol's name."""

from __future__ import annotations

import re

from lab.kernel.target import Kernel
from lab.model import ConfigurationError

_NUMBER = re.compile(r"(?:0x)?([0-9a-f]{1,16}|[0-9a-f]{1,8}`[0-9a-f]{8})", re.IGNORECASE)
_SYMBOL = re.compile(r"((?:[\w.-]+!)?[\w?@$.<>:~]+)(?:\+(?:0x)?([0-9a-f]{1,16}))?", re.IGNORECASE)


def number(text: str) -> int | None:
    """`fffff800`02a93c40`, `0xfffff80002a93c40` or `fffff80002a93c40`; None when it is no such thing."""
    found = _NUMBER.fullmatch(text.strip())
    return int(found[1].replace("`", ""), 16) if found else None


def address(kernel: Kernel, text: str) -> int:
    """The address that `text` means: a number, or `module!name+0x10`, a name alone being the kernel's.

    ConfigurationError when it is neither, or no symbols have the name.
    """
    value = number(text)
    if value is not None:
        return value
    found = _SYMBOL.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"'{text}' is no address", help="Write fffff800`02a93c40, 0xfffff80002a93c40 or nt!KeBugCheckEx."
        )
    known = kernel.address(found[1])
    if known is None:
        raise ConfigurationError(
            f"no symbols at hand have {found[1]}", help="Give symbols with --symbols, or the address itself."
        )
    return known + int(found[2] or "0", 16)
