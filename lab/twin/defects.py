"""How what is hidden acts in one boot: with the drivers it loaded, and the verifier that watches them."""

from __future__ import annotations

from random import Random

from lab.twin.driver import Kind
from lab.twin.hidden import Hidden, Leak
from lab.twin.stopping import RunningKernel, verified
from lab.twin.untraced import Fuse
from lab.twin.workers import Defect

IO_VERIFICATION = 0x10
MISCELLANEOUS_CHECKS = 0x800

_DORMANT = 0.15  # share of time in which a leaking culprit does no harm


def defect_of(hidden: Hidden, kernel: RunningKernel, random: Random, speed: float) -> Defect | Fuse | None:
    """What this boot does wrong, None for nothing. `speed`: guest seconds in a real second."""
    defect = hidden.defect
    if isinstance(defect, Leak):
        return _leaking(defect, kernel)
    rate = defect.rate(kernel.loaded.services, random)
    return Fuse(rate / speed, random.random)


def _leaking(leak: Leak, kernel: RunningKernel) -> Defect | None:
    culprit = leak.culprit
    if culprit not in kernel.loaded.drivers:
        return None
    watched, flags = verified(kernel), kernel.verifier.flags
    # I/O verification looks at every IoCallDriver, whoever calls, once any driver is verified.
    checked = bool(flags & IO_VERIFICATION) and bool(watched)
    logging = bool(flags & MISCELLANEOUS_CHECKS)
    return Defect(
        culprit.image,
        leak.probability,
        checked=checked and culprit.kind in (Kind.MINIFILTER, Kind.CLASS_FILTER),
        logged=logging and culprit.image in watched and not leak.inlined,
        dormant=_DORMANT,
    )
