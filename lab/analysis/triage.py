"""One dump, from the file to suspects. What cannot be read becomes a note, never a failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.analysis.gather import gather
from lab.analysis.gather.attempt import sentence
from lab.analysis.gather.wanted import wanted_symbols
from lab.analysis.header import of_header
from lab.analysis.origin import by_image
from lab.analysis.rules import apply
from lab.analysis.signature import signature_of
from lab.analysis.suspects import rank
from lab.dumps.dump import open_dump
from lab.dumps.source import Source
from lab.kernel.opening import open_kernel
from lab.kernel.target import Kernel
from lab.model import Driver, DumpError, Triage, WantedSymbols
from lab.symbols.port import SymbolStore


def triage(
    file: Path | str | Source,
    symbols: SymbolStore | None = None,
    known: Sequence[Driver] = (),
    *,
    name: str = "",
    allow_incomplete: bool = False,
) -> Triage:
    """Everything one dump says, and whom it speaks against.

    `file` is a path, or any source of random access, `name` what to call it. `known` are drivers as a guest
    reported them; their origin wins over what the dump says. Raises DumpError when the file is no kernel
    dump, or is not whole, or when no kernel can be found in it; with `allow_incomplete` only when not even
    its header can be read: the notes say what lacks. ConfigurationError when there is no such file.
    """
    with open_dump(file, name=name, allow_incomplete=allow_incomplete) as dump:
        try:
            kernel = open_kernel(dump, symbols)
        except DumpError as error:
            if not allow_incomplete:
                raise
            return of_header(dump, error)
        facts, notes = gather(kernel, by_image(known))
        evidence, said = apply(facts)
        wanted = wanted_symbols(kernel, facts.stack, facts.processors)
        return Triage(
            dump=dump.facts(),
            bugcheck=facts.bugcheck,
            thread=facts.thread,
            stack=facts.stack,
            modules=facts.modules,
            signature=signature_of(facts),
            verifier=facts.verifier,
            dispatch=facts.dispatch,
            evidence=evidence,
            suspects=rank(facts, evidence),
            notes=tuple(dict.fromkeys((*notes, *said, *map(sentence, _of_symbols(kernel, wanted))))),
            unloaded=facts.unloaded,
            processors=facts.processors,
            readings=kernel.readings,
            wanted=wanted,
            exception=facts.record,
        )


def _of_symbols(kernel: Kernel, wanted: Sequence[WantedSymbols]) -> list[str]:
    """What symbol places had to say, but of symbols that are wanted: their entry has it, place by place."""
    return [note for note in kernel.symbols.notes if not any(each.key in note for each in wanted)]
