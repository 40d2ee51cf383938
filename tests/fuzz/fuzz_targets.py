"""What is fuzzed: each target takes the bytes of one file, or what a server sent, as the product would."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import fuzz_seeds
from fuzz_mutations import Seed, mutated
from fuzz_seeds import seed
from fuzz_smb_mutations import mutated_stream

from lab.analysis import triage
from lab.dumps import expected_length, open_dump, why_not_whole
from lab.dumps.secondary import read_blobs
from lab.dumps.source import BytesSource, Source
from lab.kernel.devices import device_stack, devices_of, read_device
from lab.kernel.filters import find_volume
from lab.kernel.fltframes import read_filters, read_volumes
from lab.kernel.irp import read_irp
from lab.kernel.irplog import read_irp_log
from lab.kernel.opening import open_kernel
from lab.kernel.pool import find_block
from lab.kernel.power import read_power_failure
from lab.kernel.processes import read_processes
from lab.kernel.processors import processor_context, read_processors
from lab.kernel.target import Kernel
from lab.kernel.threads import all_threads, read_summary
from lab.kernel.unwind import walk
from lab.kernel.verifier import read_verifier
from lab.kernel.version import read_version
from lab.kernel.waiting import waiting_context
from lab.model import LabError
from lab.symbols.cabinet import expand
from lab.symbols.files import Bytes
from lab.symbols.isf import load_isf
from lab.symbols.pdb import Pdb


@dataclass(frozen=True)
class Target:
    """`share`: how many of a hundred inputs go to it. `guided`: how many more are guided by coverage."""

    name: str
    share: int
    guided: int
    run: Callable[[bytes], None]
    make_seeds: Callable[[], list[Seed]]
    mutate: Callable[[Seed, Random], bytes] = mutated

    @property
    def seeds(self) -> list[Seed]:
        return _seeds(self)


@cache
def _seeds(target: Target) -> list[Seed]:
    return target.make_seeds()


# --- dumps ----------------------------------------------------------------------------------------


def run_triage(data: bytes) -> None:
    """`lab triage`; when it refuses the file, then once more for what can be said all the same."""
    try:
        triage(BytesSource(data))
    except LabError:
        triage(BytesSource(data), allow_incomplete=True)


def _dump_seeds(read: Callable[[Source], object]) -> list[Seed]:
    return [seed(name, data, read) for name, data in fuzz_seeds.dumps().items()]


def read_everything(source: Source) -> None:
    """Every reader behind `lab dump`, each on its own."""
    with open_dump(source, allow_incomplete=True) as dump:
        dump.facts()
        read_blobs(source, max(0, source.size - 0x2000))
        kernel = open_kernel(dump, fuzz_seeds.symbols())
        for read in _READERS:
            with suppress(LabError):
                read(kernel)


def _threads(kernel: Kernel) -> None:
    for number, thread in enumerate(all_threads(kernel)):
        if number == 16:
            break
        with suppress(LabError):
            read_summary(kernel, thread)
            context, _ = waiting_context(kernel, thread)
            walk(kernel, context)


def _processor_stacks(kernel: Kernel) -> None:
    for processor in read_processors(kernel)[:4]:
        with suppress(LabError):
            walk(kernel, processor_context(kernel, processor.number))


def _versions(kernel: Kernel) -> None:
    for module in kernel.modules[:64]:
        read_version(kernel, module)


def _filters(kernel: Kernel) -> None:
    with suppress(LabError):
        read_filters(kernel)
    for volume in read_volumes(kernel)[:4]:
        with suppress(LabError):
            find_volume(kernel, read_device(kernel, volume.device))
        for device in device_stack(kernel, volume.device):
            devices_of(kernel, device.driver)


def _requests(kernel: Kernel) -> None:
    for entry in read_irp_log(kernel).entries[:8]:
        with suppress(LabError):
            read_irp(kernel, entry.irp)
            find_block(kernel, entry.irp)


_READERS: tuple[Callable[[Kernel], object], ...] = (
    read_processes,
    read_power_failure,
    _filters,
    _requests,
    read_verifier,
    _threads,
    _processor_stacks,
    _versions,
)


def run_readers(data: bytes) -> None:
    expected_length(data[:0x3000])
    why_not_whole(data[:0x3000], len(data))
    read_everything(BytesSource(data))


def run_unwinder(data: bytes) -> None:
    """Only the walk of the crashing stack, so that code, unwind data and stack get the mutations."""
    with open_dump(BytesSource(data), allow_incomplete=True) as dump:
        kernel = open_kernel(dump)
        walk(kernel, kernel.context)


def _unwinder_seeds() -> list[Seed]:
    """The twin's dumps; only what the walk reads that opening does not."""
    found = []
    for name, data in fuzz_seeds.dumps().items():
        if not name.startswith("twin"):
            continue
        opened = seed(name, data, lambda source: open_kernel(open_dump(source)))
        walked = seed(name, data, _walk)
        only = tuple(sorted(set(walked.ranges) - set(opened.ranges)))
        found.append(Seed(name, data, only or walked.ranges))
    return found


def _walk(source: Source) -> None:
    with open_dump(source) as dump:
        kernel = open_kernel(dump)
        walk(kernel, kernel.context)


# --- symbols --------------------------------------------------------------------------------------

_TYPES = ("_LIST_ENTRY", "_THREAD", "_IRP", "THREAD", "IRP", "_HUGE", "_EITHER", "_PACKED", "_KTHREAD")
_FIELDS = (
    "KernelApcDisable",
    "Tail.Overlay.Thread",
    "Tail.Overlay.ListEntry",
    "Links.Flink",
    "C.Two",
    "After",
)


def _read_pdb(source: Bytes) -> None:
    pdb = Pdb(source, "srv2.pdb")
    for name, rva in list(pdb.names())[:200]:
        pdb.rva(name)
        pdb.nearest(rva + 3)
    for type_name in _TYPES:
        pdb.size(type_name)
        for field in _FIELDS:
            pdb.offset(type_name, field)
    _ = pdb.notes, pdb.source


def run_pdb(data: bytes) -> None:
    _read_pdb(Bytes(data))


def run_cabinet(data: bytes) -> None:
    expand(Bytes(data), "tiny.pdb", io.BytesIO(), 1 << 24)


_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")


def run_symbol_file(data: bytes) -> None:
    """An ISF file, asked for by the ids that the seeds have."""
    ending = ".json.xz" if data[:1] == b"\xfd" else ".json"
    path = Path(_FOLDER.name) / f"{os.getpid()}{ending}"
    path.write_bytes(data)
    for name in fuzz_seeds.symbol_file_ids():
        isf = load_isf(path, name)
        if isf is None:
            continue
        isf.nearest(0x1234)
        isf.rva("Flt3")
        isf.offset("_FLT_VOLUME", "Field1.Field2")
        isf.size("_FLT_VOLUME")


def _whole(data: dict[str, bytes]) -> list[Seed]:
    return [Seed(name, content, ((0, len(content)),)) for name, content in data.items()]


# --- answers of a server --------------------------------------------------------------------------
# Imported where they are used: the environment of guided.py has nothing of what the SMB client needs.


def run_smb_replies(data: bytes) -> None:
    import fuzz_smb

    fuzz_smb.run_replies(data)


def _smb_replies() -> list[Seed]:
    import fuzz_smb

    return fuzz_smb.replies()


def run_smb_read_answers(data: bytes) -> None:
    import fuzz_smb_load

    fuzz_smb_load.run_read_answers(data)


def _smb_read_answers() -> list[Seed]:
    import fuzz_smb_load

    return fuzz_smb_load.answers()


TARGETS: tuple[Target, ...] = (
    Target(
        "triage",
        34,
        2_000,
        run_triage,
        lambda: _dump_seeds(lambda source: triage(source, allow_incomplete=True)),
    ),
    Target("readers", 10, 0, run_readers, lambda: _dump_seeds(read_everything)),
    Target("unwinder", 10, 1_000, run_unwinder, _unwinder_seeds),
    Target("pdb", 34, 20_000, run_pdb, lambda: [seed(n, d, _read_pdb) for n, d in fuzz_seeds.pdbs().items()]),
    Target("cabinet", 8, 3_000, run_cabinet, lambda: _whole(fuzz_seeds.cabinets())),
    Target("isf", 4, 5_000, run_symbol_file, lambda: _whole(fuzz_seeds.symbol_files())),
    Target("smb replies", 20, 0, run_smb_replies, _smb_replies, mutated_stream),
    Target("smb read answers", 20, 0, run_smb_read_answers, _smb_read_answers, mutated_stream),
)
BY_NAME = {target.name: target for target in TARGETS}
