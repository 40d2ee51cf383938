"""A verdict clears only what was switched off: what never was is named, with its pin and the evidence."""

from __future__ import annotations

from dataclasses import replace

import report_samples as samples

from lab.model import Case, Signature, Verdict, VerdictKind
from lab.report import verdict
from lab.report.html import render_html
from lab.report.markdown import render_markdown


def unpinned(case: Case) -> Case:
    """The same case on a host without pins, whose second trial ran with nothing of a third party."""
    last = case.trials[-1]
    bare = replace(
        last, enabled=frozenset(), recipe=replace(last.recipe, disabled=frozenset(samples.SERVICES))
    )
    return replace(
        case, drivers=tuple(replace(d, pinned="") for d in case.drivers), trials=(*case.trials[:-1], bare)
    )


def undecided(*culprits: str, accuse: bool = True, probability: float = 0.3) -> Case:
    case = samples.undecided_case()
    reasons = ("60 trials were run", "hvstor.sys was never switched off: it is pinned (the system disk)")
    crashes = dict(case.crashes)
    if accuse:
        crashes[samples.SHA[11]] = samples.accusing(crashes[samples.SHA[11]], "HVSTOR.SYS")
    told = Verdict(VerdictKind.UNDECIDED, culprits, probability, reasons)
    return replace(case, crashes=crashes, verdict=told)


def test_system_names_what_was_never_switched_off() -> None:
    said = verdict.answer(samples.system_case())
    assert said.label == "Not a removable third-party driver"
    assert [(u.card.image, u.why) for u in said.untested] == [
        ("hvstor.sys", "pinned: the system disk hangs on it"),  # evidence names it: first
        ("AdvNetLwf.sys", "pinned: the NIC's driver"),
    ]
    assert said.untested[0].named == (
        "Named by moderate evidence in the customer’s crash: The faulting instruction lies in hvstor.sys.",
    )
    assert said.sure == (
        "very likely that it is none of those that were switched off. "
        "Windows, firmware, hardware, hvstor.sys and AdvNetLwf.sys remain"
    )


def test_system_says_each_thing_once() -> None:
    case = samples.system_case()
    said = verdict.answer(case)
    assert said.because == ("The crash also came with every removable third-party driver off.",)
    for page in (render_html(case), render_markdown(case)):
        assert page.count("it is pinned") == 0
        assert "No third-party driver is to blame" not in page


def test_system_advises_to_lift_the_pin_before_windows_is_blamed() -> None:
    titles = [a.title for a in verdict.answer(samples.system_case()).actions]
    assert titles == [
        "Put hvstor.sys and AdvNetLwf.sys to the test",
        "Bring Windows up to date",
        "Test memory and processor",
        "Send this page and the dump to Litware Storage and Microsoft's support",
    ]
    how = verdict.answer(samples.system_case()).actions[0].text
    assert "lift the pins" in how and "swap the adapter" in how


def test_system_without_pins_clears_every_third_party_driver() -> None:
    said = verdict.answer(unpinned(samples.system_case()))
    assert said.untested == ()
    assert said.sentence == "No third-party driver is to blame: the crash comes without them."
    assert said.label == "Not a third-party driver"
    assert said.actions[0].title == "Bring Windows up to date"


def test_a_pinned_driver_that_did_not_run_or_was_off_is_not_listed() -> None:
    case = samples.system_case()
    stopped = tuple(replace(d, running=False) if d.service == "hvstor" else d for d in case.drivers)
    assert [u.card.image for u in verdict.answer(replace(case, drivers=stopped)).untested] == [
        "AdvNetLwf.sys"
    ]
    lifted = unpinned(case)
    pinned_later = replace(lifted, drivers=case.drivers)
    assert verdict.answer(pinned_later).untested == ()


def test_a_driver_that_would_not_go_off_is_not_cleared_either() -> None:
    case = samples.system_case()
    free = replace(case, drivers=tuple(replace(d, pinned="") for d in case.drivers))
    said = verdict.answer(free)
    assert [u.why for u in said.untested] == ["it was on in every trial"] * 2
    assert said.actions[0].title == "Remove hvstor.sys and AdvNetLwf.sys from a lab host"


def test_evidence_of_a_different_crash_is_marked_as_such() -> None:
    case = samples.system_case()
    sha = samples.SHA[2]
    other = samples.accusing(
        samples.exit_triage("2", "2026-03-02T09:06:00Z", signature=Signature(0xD1, 0, "", ())),
        "AdvNetLwf.sys",
    )
    said = verdict.answer(replace(case, crashes={**case.crashes, sha: other}))
    named = next(u.named for u in said.untested if u.card.image == "AdvNetLwf.sys")
    assert named[0].startswith("Named by moderate evidence in trial 2 (a different crash): ")


def test_undecided_names_a_pinned_driver_that_evidence_names() -> None:
    said = verdict.answer(undecided("GuardHook"))
    assert said.sentence == (
        "Not decided yet: it may be GuardHook.sys; or hvstor.sys, which was never switched off."
    )
    assert said.sure == "not likely enough to act on: a lead, no result; it says nothing of hvstor.sys"
    assert said.because == ("60 trials were run.",)
    assert said.actions[0].title == "Put hvstor.sys to the test"
    assert said.decide[0] == "Trials without hvstor.sys, on a host where that is safe."
    assert "Never switched off, so not cleared" in render_markdown(undecided("GuardHook"))
    assert "Never switched off, so not cleared" in render_html(undecided("GuardHook"))


def test_undecided_without_a_lead_names_it_too() -> None:
    said = verdict.answer(undecided(probability=0.0))
    assert said.sentence == "Not decided yet: evidence names hvstor.sys, which was never switched off."
    assert said.sure.startswith("Evidence names hvstor.sys, but no trial was without it")


def test_undecided_leaves_pins_alone_that_no_evidence_names() -> None:
    said = verdict.answer(undecided("GuardHook", accuse=False))
    assert said.untested == ()
    assert said.because[-1] == "hvstor.sys was never switched off: it is pinned (the system disk)."


def test_other_verdicts_do_not_speak_of_it() -> None:
    for name in ("minifilter", "one-of", "not-reproducible", "open"):
        assert verdict.answer(samples.ALL[name]()).untested == ()
