"""Questions about threads and their stacks: `!process 0 2`, `kn`, `~N k`, `!thread`, `.frame /r`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.place import address as place
from lab.cli.dump.place import meant, number
from lab.dumps.context import Context
from lab.kernel.processes import read_processes
from lab.kernel.processors import processor_context
from lab.kernel.threads import is_thread, read_summary, stack_bounds
from lab.kernel.unwind import walk
from lab.kernel.waiting import waiting_context
from lab.model import ConfigurationError, DumpError, Frame, ProcessFacts, ThreadSummary
from lab.report.debugger import stack as kn
from lab.report.debugger import threads as shown


def threads(
    kernel: Kernel,
    apc: Annotated[bool, typer.Option("--apc", help="Only threads whose APC counts are not zero.")] = False,
    process: Annotated[
        str | None,
        typer.Option("--process", help="Only one: its name, its id (hexadecimal), or its address."),
    ] = None,
) -> Answer:
    """Processes with their threads: state, start address, APC disable counts."""
    found = read_processes(kernel)
    if process is not None:
        found = tuple(each for each in found if _is(each, process))
        if not found:
            raise ConfigurationError(
                f"no process is {process}", help="'lab dump threads DUMP' lists all that the dump holds."
            )
    if apc:
        value = tuple(
            ProcessFacts(p.address, p.process_id, p.name, p.directory_table_base, kept)
            for p in found
            if (kept := tuple(t for t in p.threads if shown.disabled(t)))
        )
        lines = answer(found, lambda all_: shown.processes(all_, only_disabled=True)).lines
        return Answer(value, lines)
    return answer(found, shown.processes)


def process_list(kernel: Kernel) -> Answer:
    """Processes without their threads."""
    return answer(tuple(replace(each, threads=()) for each in read_processes(kernel)), shown.processes)


def _is(process: ProcessFacts, wanted: str) -> bool:
    text = wanted.casefold().removeprefix("0x").replace("`", "")
    return text in (
        process.name.casefold(),
        process.name.casefold().removesuffix(".exe"),
        f"{process.process_id:x}",
        f"{process.address:x}",
    )


@dataclass(frozen=True)
class Stack:
    """The frames of one thread or processor. `of` says of which, and where its registers come from."""

    of: str
    thread: ThreadSummary | None
    frames: tuple[Frame, ...]


def stack(
    kernel: Kernel,
    thread: Annotated[
        str | None, typer.Option("--thread", "-t", help="Of this KTHREAD, not the crashing one.")
    ] = None,
    processor: Annotated[
        int | None, typer.Option("--processor", "-p", min=0, help="Of this processor.")
    ] = None,
    registers: Annotated[
        bool, typer.Option("--registers", "-r", help="With each frame's registers.")
    ] = False,
    frame: Annotated[
        str | None, typer.Option("--frame", help="Only this frame, by its number in kn, as .frame /r.")
    ] = None,
) -> Answer:
    """A stack: unwound, and where that is not possible scanned, which is marked."""
    found = _stack(kernel, thread, processor)
    if frame is not None:
        found = Stack(found.of, found.thread, (_numbered(found.frames, frame),))
        registers = True
    return answer(found, lambda value: _lines(value, registers))


def stack_with_arguments(kernel: Kernel, processor: int | None = None) -> Answer:
    """A stack as `kv`, `kb` and `kp` are asked for it."""
    found = stack(kernel, processor=processor)
    return Answer(found.value, (NO_ARGUMENTS, *found.lines))


NO_ARGUMENTS = "(Arguments are not recovered: on x64 they are in registers that the callee may reuse.)"


def crashing_thread(kernel: Kernel) -> Answer:
    """The thread that crashed, with its stack, as `!thread` shows it."""
    return stack(kernel, thread=f"{kernel.thread:#x}" if kernel.thread else None)


def _numbered(frames: tuple[Frame, ...], text: str) -> Frame:
    """The frame of a number as kn writes it, in hexadecimal."""
    index = number(text)
    found = next((each for each in frames if each.index == index), None)
    if found is None:
        last = f"0 to {frames[-1].index:x}" if frames else "none"
        raise ConfigurationError(
            f"there is no frame {text}", help=f"Frames are numbered in hexadecimal as kn does: {last}."
        )
    return found


def _stack(kernel: Kernel, thread: str | None, processor: int | None) -> Stack:
    if thread is not None and processor is not None:
        raise ConfigurationError("--thread and --processor exclude each other")
    if processor is not None:
        context = processor_context(kernel, processor)
        return Stack(f"processor {processor}", None, tuple(walk(kernel, context)))
    if thread is None:
        of = "the crashing thread"
        return Stack(of, None, tuple(walk(kernel, kernel.context)))
    address = place(kernel, thread)
    if not address:
        raise ConfigurationError(
            "0 is no thread", help="'lab dump threads DUMP' lists the threads with their addresses."
        )
    with meant("a thread (KTHREAD)"):
        return _of_thread(kernel, address)


def _of_thread(kernel: Kernel, address: int) -> Stack:
    running = _running(kernel, address)
    if running is not None:
        number, context = running
        of = f"processor {number}, where it runs"
    else:
        if not is_thread(kernel, address):
            kernel.memory.read(address, 1)
            raise DumpError(f"there is no thread at {address:#x}")
        context, how = waiting_context(kernel, address)
        of = f"its saved state: {how}"
    frames = tuple(walk(kernel, context, bounds=stack_bounds(kernel, address)))
    return Stack(of, read_summary(kernel, address), frames)


def _running(kernel: Kernel, thread: int) -> tuple[int, Context] | None:
    """(processor, registers) of a thread that ran when the system stopped."""
    if thread == kernel.thread:
        number = next((p.number for p in kernel.processors if p.thread == thread), 0)
        return number, kernel.context
    for each in kernel.processors:
        if each.thread == thread and each.context is not None:
            return each.number, each.context
    return None


def _lines(found: Stack, registers: bool) -> Iterator[str]:
    if found.thread is not None:
        each = found.thread
        yield f"THREAD {each.address:016x}  Cid {each.cid or 'unknown'}  {each.state}"
        if each.start:
            yield f"Win32 Start Address {each.start}"
        yield (
            f"KernelApcDisable {shown.count(each.kernel_apc_disable)}  "
            f"SpecialApcDisable {shown.count(each.special_apc_disable)}"
        )
        yield f"Registers from {found.of}"
        yield ""
    yield from kn.kn(found.frames, registers=registers)
