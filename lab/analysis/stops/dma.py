"""0xE6 DRIVER_VERIFIER_DMA_VIOLATION by parameter 1 (Microsoft's bug check code reference)."""

from __future__ import annotations

from lab.analysis.stops.shape import Kinds, Parameter, Role, violation

_ADAPTER = Parameter("DMA adapter")
_INTERNAL = Parameter("Verifier's own data")
_KIND = Parameter("Kind of violation")
_MDL = Parameter("MDL")


def _p(text: str) -> Parameter:
    return Parameter(text)


VIOLATIONS: Kinds = {
    0x00: violation(
        "A miscellaneous DMA error",
        _p("1 too many bytes flushed, 2 out of contiguous map registers"),
        _p("Bytes left in the MDL, or map registers needed"),
        _p("Bytes left to be flushed, or contiguous map registers"),
    ),
    0x01: violation("The performance counter went backwards"),
    0x02: violation("The performance counter went too fast"),
    0x03: violation("Too many common buffers were freed", _p("Buffers freed too often")),
    0x04: violation("Too many adapter channels were freed", _p("Channels freed too often")),
    0x05: violation("Too many map registers were freed", _p("Registers freed too often")),
    0x06: violation("Too many scatter/gather lists were freed", _p("Lists allocated"), _p("Lists freed")),
    0x07: violation("An adapter was released with common buffers left", _ADAPTER, _p("Buffers"), _INTERNAL),
    0x08: violation("An adapter was released with channels left", _ADAPTER, _p("Channels"), _INTERNAL),
    0x09: violation("An adapter was released with map registers left", _ADAPTER, _p("Registers"), _INTERNAL),
    0x0A: violation(
        "An adapter was released with scatter/gather lists left", _ADAPTER, _p("Lists"), _INTERNAL
    ),
    0x0B: violation("More than one adapter channel was allocated", _p("Channels outstanding")),
    0x0C: violation("Too many map registers were allocated", _p("Registers needed"), _p("Most registers")),
    0x0D: violation("Adapter buffers were not flushed", _p("Bytes mapped"), _p("Most bytes")),
    0x0E: violation("A DMA transfer of a buffer that is not locked", _MDL),
    0x0F: violation(
        "The driver or its hardware wrote outside the DMA buffer",
        _p("1 tag before, 2 tag after, 3 free map register, 4 padding before, 5 padding after"),
        _p("Length or start of the buffer, or the damaged address"),
        _p("Start of the buffer, or the damaged address"),
    ),
    0x10: violation("Map registers were freed that are still mapped", _p("Registers mapped")),
    0x11: violation("Too many references to an adapter are left", _p("Reference count"), _ADAPTER, _INTERNAL),
    0x13: violation("A DMA routine was called at the wrong IRQL", _KIND, _p("IRQL expected"), _p("IRQL")),
    0x14: violation("A DMA routine was called at the wrong IRQL"),
    0x15: violation("Too many map registers were allocated", _p("Registers"), _p("Most registers")),
    0x16: violation("A buffer that is not mapped was flushed", _p("Map register"), _INTERNAL),
    0x18: violation("DMA by an adapter that was released", _ADAPTER, _INTERNAL),
    0x19: violation("A DMA routine was given a null adapter"),
    0x1B: violation("A DMA routine was given an address outside its MDL", _p("Address"), _MDL),
    0x1D: violation(
        "A range was mapped that is mapped already",
        _p("Start of the buffer"),
        _p("End of the buffer"),
        _p("Address that is mapped already"),
    ),
    0x1E: violation("HalGetAdapter was called, which is obsolete"),
    0x1F: violation("A DMA buffer is not valid", _KIND, _p("Buffer, MDL or length"), _p("MDL or length")),
    0x20: violation(
        "A map register that is not mapped was flushed", _p("Map register base"), _p("Buffer"), _MDL
    ),
    0x21: violation("A buffer of no length was mapped", _INTERNAL),
    0x22: violation("A DMA buffer is not mapped in system space", _MDL),
    0x23: violation("A channel that is neither completed nor cancelled was flushed", _KIND),
    0x24: violation("The buffer is too small for the length asked for", _p("Length unaccounted for")),
    0x25: violation("The version of the device description is not known"),
    0x26: violation(
        "The IOMMU caught a device at a forbidden DMA",
        Parameter("Device object of the faulting device", Role.DEVICE),
        _p("Fault information, usually the physical address"),
        _p("Fault type"),
    ),
}
