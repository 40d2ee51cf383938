"""The way of the request that broke the rule: its caller, the device stack, the minifilters."""

from __future__ import annotations

from dataclasses import dataclass

from lab.analysis.rules.dispatch_routine import KINDS
from lab.kernel.irp import major_name
from lab.model import DispatchState, FilterInstance, Origin, Triage
from lab.report import drivers, words
from lab.report.debugger.devices import request
from lab.report.facts import Fact
from lab.report.stack import frames

_HANDLES = {True: "handles {}", False: "does not handle {}", None: "{}: not known"}


@dataclass(frozen=True)
class PathStep:
    """A place on the way, top first. `kind`: caller, device or filter; `mark`: altitude or address."""

    kind: str
    name: str
    detail: str
    mark: str
    origin: str = ""
    called: bool = False
    culprit: bool = False


@dataclass(frozen=True)
class InstanceView:
    """One row of the filter instances."""

    altitude: str
    group: str
    image: str
    name: str
    address: str
    origin: str
    handles: str
    culprit: bool


@dataclass(frozen=True)
class Path:
    """All that verifier's saved state led to.

    `request` is the request that `handles` of the instances is about ("READ"), `did` what the routine did.
    """

    facts: tuple[Fact, ...]
    checks: tuple[str, ...]
    steps: tuple[PathStep, ...]
    instances: tuple[InstanceView, ...]
    volume: str
    request: str
    did: str


def path(triage: Triage, culprits: frozenset[str]) -> Path | None:
    """The way, or None when the crash holds no saved state of a call.

    `culprits` are names of services and images, case-folded, to be marked.
    """
    state = triage.dispatch
    if state is None:
        return None
    ordered = sorted(state.instances, key=lambda i: (-drivers.altitude_key(i.altitude), i.image))
    kind = KINDS.get((triage.bugcheck.code, triage.bugcheck.parameters[0]))
    return Path(
        _facts(state, counted=kind is not None and kind.counts),
        state.checks,
        tuple(_steps(triage, state, ordered, culprits)),
        tuple(_instance(i, culprits) for i in ordered),
        state.volume_name,
        request(state.major),
        f"its {kind.routine} {kind.did}" if kind else "was called",
    )


def _facts(state: DispatchState, *, counted: bool) -> tuple[Fact, ...]:
    """`counted`: the stop is about the APC disable count."""
    count = (Fact("APC disable count before", words.signed(state.apc_before), True),) if counted else ()
    volume = (
        (Fact("FLT_VOLUME", f"{words.address(state.volume)} {state.volume_name}", True),)
        if state.volume
        else ()
    )
    asked = f", {major_name(state.major)}" if state.major is not None else ""
    sent = (Fact("Request (IRP)", words.address(state.irp) + asked, True),) if state.irp else ()
    return (
        Fact("Dispatch routine", f"{state.dispatch_symbol} ({words.address(state.dispatch_routine)})", True),
        _saved(state),
        *sent,
        *count,
        Fact("Device object", f"{words.address(state.device)} of {state.driver}", True),
        *volume,
    )


def _saved(state: DispatchState) -> Fact:
    if not state.address:
        return Fact("Saved state", f"not found; the device, from {state.found_in}, is a guess")
    return Fact("Saved state", f"{words.address(state.address)}, found in {state.found_in}", True)


def _steps(
    triage: Triage, state: DispatchState, ordered: list[FilterInstance], culprits: frozenset[str]
) -> list[PathStep]:
    filters = [
        PathStep(
            "filter",
            _name(i),
            _HANDLES[i.handles_read].format(request(state.major)),
            i.altitude,
            i.origin.value,
            culprit=_is_culprit(i, culprits),
        )
        for i in ordered
    ]
    found = [PathStep("caller", name, "sends the request", "") for name in _caller(triage)]
    stack = state.device_stack or ((state.device, state.driver),)
    for device, driver in stack:
        called = device == state.device
        found.append(PathStep("device", driver, "", words.address(device), called=called))
        if called:
            found += filters
            filters = []
    return found + filters


def _caller(triage: Triage) -> list[str]:
    """The function that called the dispatch routine: the frame below verifier's wrapper."""
    views = frames(triage)
    for i, frame in enumerate(triage.stack[:-1]):
        if frame.symbol.startswith("nt!IovCallDriver"):
            return [views[i + 1].symbol]
    return []


def _instance(i: FilterInstance, culprits: frozenset[str]) -> InstanceView:
    return InstanceView(
        altitude=i.altitude,
        group=drivers.altitude_group(i.altitude),
        image=_name(i),
        name=i.name,
        address=words.address(i.address),
        origin=i.origin.value if i.origin is not Origin.UNKNOWN else "not known",
        handles={True: "yes", False: "no", None: "not known"}[i.handles_read],
        culprit=_is_culprit(i, culprits),
    )


def _name(i: FilterInstance) -> str:
    return i.image or i.filter_name or i.name


def _is_culprit(i: FilterInstance, culprits: frozenset[str]) -> bool:
    return bool({i.image.casefold(), i.filter_name.casefold()} & culprits)
