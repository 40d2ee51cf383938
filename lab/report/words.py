"""Numbers, addresses and foreign text as a reader wants them."""

from __future__ import annotations

import unicodedata

VERIFIER_FLAGS = {
    0x1: "Special pool",
    0x2: "Force IRQL checking",
    0x4: "Low resources simulation",
    0x8: "Pool tracking",
    0x10: "I/O verification",
    0x20: "Deadlock detection",
    0x80: "DMA checking",
    0x100: "Security checks",
    0x200: "Force pending I/O",
    0x400: "IRP logging",
    0x800: "Miscellaneous checks",
    0x2000: "Invariant MDL checking, stack",
    0x4000: "Invariant MDL checking, driver",
    0x8000: "Power framework delay fuzzing",
    0x10000: "Port/miniport interface checking",
    0x20000: "DDI compliance checking",
    0x40000: "Systematic low resources simulation",
    0x80000: "DDI compliance checking, additional",
    0x200000: "NDIS/WIFI verification",
    0x800000: "Kernel synchronization delay fuzzing",
    0x1000000: "VM switch verification",
    0x2000000: "Code integrity checks",
}
"""Rule classes of Driver Verifier by their bit in `verifier /flags` (Microsoft's verifier reference)."""

_SURE = (
    (0.99, "practically certain"),
    (0.95, "very likely"),
    (0.80, "likely"),
    (0.50, "more likely than not"),
    (0.0, "not likely enough to act on"),
)


def visible(text: str) -> str:
    """`text` with everything that could deceive or break a page shown as an escape (`\\u202e`).

    Controls, text-direction marks, invisible format characters, line separators, lone surrogates, and what
    is no character yet: names come from dumps and guests, and a driver may call itself anything. Newline
    and tab stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c
        if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
        else f"\\u{ord(c):04x}"
        for c in text
    )


def line(text: str) -> str:
    """As `visible`, but on one line: a name with a newline in it must not pass for two lines of ours."""
    return text if text.isprintable() and text.isascii() else _one_line(visible(text))


def _one_line(text: str) -> str:
    return text.replace("\n", "\\u000a").replace("\t", "\\u0009")


def address(value: int) -> str:
    """A 64-bit address as the debugger writes it: fffff880`05db1b08."""
    text = f"{value & 0xFFFFFFFFFFFFFFFF:016x}"
    return f"{text[:8]}`{text[8:]}"


def seconds(value: float) -> str:
    """6 ms, 6.2 s, 40 s, 3 min 5 s, 2 h 10 min, 4 days 3 h."""
    if value <= 0:
        return "0 s"
    if value < 0.095:
        return f"{max(1, round(value * 1000))} ms"
    if value < 9.95:
        return f"{value:.1f}".removesuffix(".0") + " s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def count(number: int, noun: str, plural: str = "") -> str:
    """1 trial, 6 trials, no trials."""
    return f"{number or 'no'} {noun if number == 1 else plural or noun + 's'}"


def grouped(number: int) -> str:
    """31 744, with narrow no-break spaces."""
    return f"{number:,}".replace(",", "\u202f")


def size(value: int) -> str:
    """A number of bytes: 204 MB (binary multiples, as Windows counts)."""
    amount = float(value)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"


def signed(value: int) -> str:
    """A count with a real minus sign: −1, 0, +2."""
    return f"\u2212{-value}" if value < 0 else f"+{value}" if value else "0"


def percent(probability: float) -> str:
    """99.4 %; never a round 100, for nothing here is that sure."""
    if probability > 0.999:
        return "> 99.9 %"
    if probability < 0.001:
        return "< 0.1 %"
    value = probability * 100
    text = f"{value:.1f}" if value > 99 or value < 1 else f"{value:.0f}"
    return f"{text} %"


def sure(probability: float) -> str:
    """A probability in words."""
    return next(word for least, word in _SURE if probability >= least or least == 0.0)


def names(items: tuple[str, ...] | list[str], last: str = "and") -> str:
    """A, B and C."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def sentence(text: str) -> str:
    """`text` with a capital and a full stop, unless it begins with a name such as fltmgr!FltpDispatch."""
    first = text.partition(" ")[0]
    if first.isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."


def moment(iso: str) -> str:
    """2026-03-02 09:31:12 UTC from ISO 8601; anything else is given back as it is."""
    day, mark, rest = iso.partition("T")
    if not mark or len(day) != 10 or not rest[:2].isdigit():
        return iso
    clock = rest.removesuffix("Z").removesuffix("+00:00").partition(".")[0]
    return f"{day} {clock} UTC"


def verifier(flags: int) -> str:
    """The rule classes of `flags`, or "Verifier off"."""
    if not flags:
        return "Verifier off"
    known = [f"{name} (0x{bit:x})" for bit, name in VERIFIER_FLAGS.items() if flags & bit]
    rest = flags & ~sum(VERIFIER_FLAGS)
    return " + ".join(known + ([f"0x{rest:x}"] if rest else []))
