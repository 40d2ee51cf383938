"""From the running machine's state to the state of a crash, as the dump writer takes it."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import VerifierPlan
from lab.twin.crash import CrashState, Image, Instance, RegionLogEntry, Stop
from lab.twin.driver import Kind
from lab.twin.hidden import Hidden, Leak
from lab.twin.loading import Loaded
from lab.twin.workers import StopRequest

_KERNEL = (("ntoskrnl.exe", 0xA00000), ("hal.dll", 0x80000), ("kdcom.dll", 0xA000), ("CI.dll", 0xC0000))

EVERY_DRIVER = "*"
"""Driver Verifier's list of drivers after `verifier /all`."""

ANY_THREAD = 0x20
"""Key of the thread that happened to run when the stop came from outside (NMI)."""


@dataclass(frozen=True)
class RunningKernel:
    """What one boot holds that ends up in its dump. `verifier` is what is active."""

    build: int
    seed: int
    computer: str
    processors: int
    loaded: Loaded
    verifier: VerifierPlan
    booted: float  # guest seconds since 1970


def verified(kernel: RunningKernel) -> tuple[str, ...]:
    """File names of the loaded drivers that Driver Verifier watches, in the order of its list."""
    images = {driver.image.casefold(): driver.image for driver in kernel.loaded.drivers}
    if kernel.verifier.drivers == (EVERY_DRIVER,):
        return tuple(images.values())
    wanted = (name.casefold() for name in kernel.verifier.drivers)
    return tuple(images[name] for name in dict.fromkeys(wanted) if name in images)


def images(loaded: Loaded) -> tuple[Image, ...]:
    """Loaded images in load order, the kernel first. Sizes differ, so that the list looks like one."""
    kernel = tuple(Image(name, third_party=False, size=size) for name, size in _KERNEL)
    return kernel + tuple(
        Image(
            driver.image,
            driver.third_party,
            size=0x20000 + 0x1000 * (len(driver.image) * 7 % 64),
            company=driver.company,
            version=driver.version,
        )
        for driver in loaded.drivers
    )


def instances(loaded: Loaded, hidden: Hidden) -> tuple[Instance, ...]:
    """Minifilter instances on the data volume."""
    return tuple(
        Instance(f"{driver.service} Instance", driver.altitude, driver.image)
        for driver in loaded.drivers
        if driver.altitude and (driver.data_volume or driver.service in hidden.attached)
    )


def dispatch_owner(hidden: Hidden, stop: Stop) -> str:
    """Whose dispatch routine Verifier names: the filter manager's for a minifilter, else its own."""
    defect = hidden.defect
    if stop is not Stop.DISPATCH_CHANGED_APC or not isinstance(defect, Leak):
        return "fltmgr.sys"
    return "fltmgr.sys" if defect.culprit.kind is Kind.MINIFILTER else defect.culprit.image


def crash_state(
    kernel: RunningKernel,
    hidden: Hidden,
    request: StopRequest,
    log: tuple[RegionLogEntry, ...],
    now: float,
) -> CrashState:
    """The state at guest time `now`."""
    return CrashState(
        build=kernel.build,
        seed=kernel.seed,
        stop=request.stop,
        images=images(kernel.loaded),
        thread=request.thread,
        apc_before=request.apc_before,
        apc_now=request.apc_now,
        dispatch_owner=dispatch_owner(hidden, request.stop),
        instances=instances(kernel.loaded, hidden),
        verifier_level=kernel.verifier.flags,
        verified=verified(kernel),
        region_log=log,
        processors=kernel.processors,
        uptime_seconds=max(1.0, now - kernel.booted),
        system_time=now,
        computer=kernel.computer,
    )
