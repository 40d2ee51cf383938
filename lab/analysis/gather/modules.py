"""The loaded images as facts: who made each, read no further than is needed to say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.analysis.origin import Marks, classify
from lab.kernel.modules import LoadedModule
from lab.kernel.target import Kernel
from lab.kernel.version import ImageVersion, read_version
from lab.model import Driver, FilterInstance, Module, Origin, UnloadedDriver


def read_modules(
    kernel: Kernel,
    known: Mapping[str, Driver],
    touched: Iterable[int],
    named: Iterable[str],
    instances: Iterable[FilterInstance],
    notes: list[str],
) -> tuple[Module, ...]:
    """Every module. The version resource is read of those that no list knows by name, and of those at issue:
    they hold one of the addresses `touched`, or are one of the images `named`.
    """
    at_issue = {module.base for address in touched if (module := kernel.module_at(address)) is not None}
    images = {name.casefold() for name in named}
    at_issue |= {module.base for module in kernel.modules if module.name.casefold() in images}
    altitudes = {instance.image.casefold(): instance.altitude for instance in instances if instance.image}
    return tuple(_module(kernel, loaded, known, at_issue, altitudes, notes) for loaded in kernel.modules)


def _module(
    kernel: Kernel,
    loaded: LoadedModule,
    known: Mapping[str, Driver],
    at_issue: set[int],
    altitudes: Mapping[str, str],
    notes: list[str],
) -> Module:
    pdb = f"{loaded.pdb.name}/{loaded.pdb.folder}" if loaded.pdb else ""
    path = loaded.pdb.path if loaded.pdb else ""
    altitude = altitudes.get(loaded.name.casefold(), "")
    version: ImageVersion | None = None
    if loaded.base == kernel.nt.base:
        origin, because = Origin.IN_BOX, "the kernel itself"
    else:
        by_name = classify(loaded.name, known)[0]
        if by_name is not Origin.IN_BOX or loaded.base in at_issue:
            version = read_version(kernel, loaded)
        marks = Marks(version.company if version else "", path, altitude)
        origin, because = classify(loaded.name, known, marks)
        if by_name is Origin.IN_BOX and origin is not by_name:
            notes.append(f"{loaded.name} is not what its name says: {because}.")
    return Module(
        name=loaded.name,
        base=loaded.base,
        size=loaded.size,
        timestamp=loaded.timestamp,
        pdb=pdb,
        origin=origin,
        origin_because=because,
        version=version.file_version if version else "",
        company=version.company if version else "",
    )


def read_unloaded(kernel: Kernel) -> tuple[UnloadedDriver, ...]:
    """Drivers that had been unloaded, the latest last."""
    found = tuple(UnloadedDriver(u.name, u.start, u.end, u.when) for u in kernel.unloaded)
    # Windows writes them into a small dump beginning with the one that was unloaded last.
    return found if kernel.dump.triage is None else found[::-1]
