"""Addresses as the debugger writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.kernel.modules import LoadedModule
from lab.model import DumpError

if TYPE_CHECKING:
    from lab.kernel.target import Kernel

_MASK = 0xFFFF_FFFF_FFFF_FFFF


def name_of(kernel: Kernel, address: int, returns: bool) -> str:
    """As Kernel.symbol, which keeps the answer."""
    module = kernel.module_at(address)
    if module is None:
        gone = kernel.unloaded_at(address)
        return f"<unloaded {gone.name}>+{address - gone.start:#x}" if gone else f"{address:#018x}"
    name = kernel.short_name(module)
    found = _nearest(kernel, module, address - module.base, address - returns - module.base)
    if found is None:
        return f"{name}+{address - module.base:#x}"
    function, distance = found
    return f"{name}!{function}{_offset(distance)}"


def _nearest(kernel: Kernel, module: LoadedModule, rva: int, control: int) -> tuple[str, int] | None:
    """(name, distance) of the function that holds RVA `control`, distance counted from `rva`."""
    symbols = kernel.module_symbols(module)
    if symbols is None:
        return None
    try:
        function = kernel.function(module.base + control)
    except DumpError:
        function = None
    if function is not None:
        exact = symbols.nearest(function.root)
        if exact is not None and exact[1] == 0:
            return exact[0], rva - function.root
    near = symbols.nearest(control)
    return None if near is None else (near[0], rva - control + near[1])


def _offset(distance: int) -> str:
    if distance == 0:
        return ""
    if distance > 0:
        return f"+{distance:#x}"
    high, low = divmod(distance & _MASK, 1 << 32)
    return f"+{high:#x}`{low:08x}"
