"""The debugger's command lines, answered by our questions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.cli.dump import devices, filters, names, system, threads, verifier
from lab.cli.dump.answer import Answer, Kernel, Question
from lab.model import ConfigurationError

_ADDRESS = r"(?P<{}>[0-9a-f`x]+|[\w.]+![\w?@$.]+)"
_LENGTH = r"(?: +L(?:0x)?(?P<length>[0-9a-f]+))?"


@dataclass(frozen=True)
class Known:
    """A family of command lines. `shape` is matched against the whole line without regard to case.

    Named groups of `shape` become arguments of the question, changed by `turned`, where they matched.
    """

    words: str  # for people, "kn, k, kb"
    shape: str
    question: Question
    given: dict[str, Any] = field(default_factory=dict)
    turned: dict[str, Callable[[str], Any]] = field(default_factory=dict)

    def match(self, line: str) -> dict[str, Any] | None:
        """The question's arguments, or None when the line is of another family."""
        found = re.fullmatch(self.shape, line, re.IGNORECASE)
        if found is None:
            return None
        said = {name: text for name, text in found.groupdict().items() if text is not None}
        return {**self.given, **{name: self.turned.get(name, str)(text) for name, text in said.items()}}


def _bytes(count: str) -> int:
    return max(1, int(count, 16))


def _quads(count: str) -> int:
    return 8 * _bytes(count)


def _fields(text: str) -> list[str]:
    return text.split()


KNOWN = (
    Known("vertarget, version", r"vertarget|version", system.info),
    Known(".dumpdebug", r"\.dumpdebug", system.info),
    Known("lm u, !unloaded", r"lm ?u|!unloaded", names.unloaded),
    Known("lm, lm m PATTERN", r"lm(?: *[fklnot])*(?: *m +(?P<name>\S+))?", names.modules),
    Known(
        "lmv, lmvm NAME, lmv m PATTERN",
        r"lm(?: *[fklnot])* *v(?: *m +(?P<name>\S+))?",
        names.modules,
        {"verbose": True},
    ),
    Known("kn, k", r"k[nl]*", threads.stack),
    Known("kb, kv, kp (without arguments)", r"k[nbvpl]*", threads.stack_with_arguments),
    Known("~N k", r"~ *(?P<processor>\d+) *(?:s; *)?k[nl]*", threads.stack, {}, {"processor": int}),
    Known(
        "~N kv",
        r"~ *(?P<processor>\d+) *(?:s; *)?k[nbvpl]*",
        threads.stack_with_arguments,
        {},
        {"processor": int},
    ),
    Known(".frame /r N", r"\.frame +/r +(?P<frame>[0-9a-f]+)", threads.stack),
    Known("!thread [ADDRESS]", r"!thread(?: +-1)?(?: +[0-9a-f]{1,2})?", threads.crashing_thread),
    Known("!thread [ADDRESS]", rf"!thread +{_ADDRESS.format('thread')}(?: +[0-9a-f]+)?", threads.stack),
    Known("!process 0 0", r"!process +0 +0", threads.process_list),
    Known("!process 0 2", r"!process(?: +0 +[0-9a-f]+)?", threads.threads),
    Known("!running, ~", r"!running(?: +-[it]+)*|~", system.processors),
    Known("!verifier", r"!verifier", verifier.verifier),
    Known("!verifier 1", r"!verifier +(?:0x)?[13]", verifier.verifier, {"statistics": True}),
    Known(
        "!verifier 100 [THREAD]",
        rf"!verifier +(?:0x)?100(?: +{_ADDRESS.format('thread')})?",
        verifier.log,
        {"irps": True},
    ),
    Known(
        "!verifier 200 [THREAD]", rf"!verifier +(?:0x)?200(?: +{_ADDRESS.format('thread')})?", verifier.log
    ),
    Known(
        "!devstack [ADDRESS], !devobj [ADDRESS]",
        rf"!dev(?:stack|obj)(?: +{_ADDRESS.format('device')})?",
        devices.devstack,
    ),
    Known("!irp ADDRESS", rf"!irp +{_ADDRESS.format('address')}(?: +\d+)?", devices.irp),
    Known("!fltkd.filters", r"!(?:fltkd\.)?filters", filters.filters),
    Known("!fltkd.volumes", r"!(?:fltkd\.)?volumes", filters.filters, {"volumes": True}),
    Known("!fltkd.volume [ADDRESS]", r"!(?:fltkd\.)?volume", filters.volume),
    Known("!fltkd.volume [ADDRESS]", rf"!(?:fltkd\.)?volume +{_ADDRESS.format('device')}", filters.filters),
    Known(
        "db, da, dc ADDRESS [L N]",
        rf"d[bac]? +{_ADDRESS.format('address')}{_LENGTH}",
        system.memory,
        {},
        {"length": _bytes},
    ),
    Known(
        "dq, dp ADDRESS [L N]",
        rf"d[qp] +{_ADDRESS.format('address')}{_LENGTH}",
        system.memory,
        {"quads": True},
        {"length": _quads},
    ),
    Known(
        "dqs, dps ADDRESS [L N]",
        rf"d[qp]s +{_ADDRESS.format('address')}{_LENGTH}",
        system.memory,
        {"named": True},
        {"length": _quads},
    ),
    Known("ln ADDRESS", rf"ln +{_ADDRESS.format('name')}", names.symbol),
    Known("x MODULE!NAME", r"x +(?P<name>[\w.]+![\w?*@$.]+)", names.symbol),
    Known(
        "dt MODULE!TYPE [FIELD] [ADDRESS]",
        r"dt +(?P<name>(?:\w+!)?\w+)(?: +(?P<fields>\w[\w. `!]*))?",
        names.type_,
        {},
        {"fields": _fields},
    ),
    Known("!lmi MODULE", r"!lmi +(?P<name>\S+)", names.modules, {"verbose": True}),
)


def ask(kernel: Kernel, line: str) -> Answer:
    """The answer to a command line of the debugger. ConfigurationError lists what is known, for any other."""
    question, arguments = understood(line)
    return question(kernel, **arguments)


def is_analyze(line: str) -> bool:
    """Whether `line` asks for all at once, which is `lab triage`."""
    return re.fullmatch(r"!analyze( +-\w+)*", " ".join(line.split()), re.IGNORECASE) is not None


def understood(line: str) -> tuple[Question, dict[str, Any]]:
    """(question, its arguments) of a command line of the debugger."""
    text = " ".join(line.split())
    for known in KNOWN:
        arguments = known.match(text)
        if arguments is not None:
            return known.question, {name.rstrip("_"): value for name, value in arguments.items()}
    raise ConfigurationError(
        f"'{line}' is not one of the debugger's commands that are known here",
        help=f"Known: !analyze -v; {'; '.join(dict.fromkeys(known.words for known in KNOWN))}.",
    )
