"""Arithmetic on the critical-region log."""

from __future__ import annotations

from analysis_facts import ELSE, THREAD, entries

from lab.analysis.regionlog import Balance, balances, is_full, monopolist

A, B = "BadDriver.sys", "Suspect.sys"


def test_pairs_balance() -> None:
    assert (
        balances(entries((THREAD, "enter", A), (THREAD, "leave", A), (ELSE, "enter", B), (ELSE, "leave", B)))
        == ()
    )


def test_nested_pairs_of_two_drivers_balance() -> None:
    log = entries((THREAD, "enter", A), (THREAD, "enter", B), (THREAD, "leave", B), (THREAD, "leave", A))
    assert balances(log) == ()


def test_an_enter_without_leave_stays_open_and_later_work_is_seen() -> None:
    log = entries((THREAD, "enter", A), (THREAD, "enter", B), (THREAD, "leave", B))
    assert balances(log) == (Balance(THREAD, A, 1, 0, True),)
    assert balances(entries((THREAD, "enter", A))) == (Balance(THREAD, A, 1, 0, False),)


def test_a_leave_whose_enter_was_overwritten_closes_nothing_later() -> None:
    log = entries((THREAD, "leave", A), (THREAD, "enter", A))
    assert balances(log) == (Balance(THREAD, A, 1, 1, False),)


def test_threads_are_kept_apart() -> None:
    log = entries((THREAD, "enter", A), (ELSE, "leave", A))
    assert {(b.thread, b.open_enters, b.extra_leaves) for b in balances(log)} == {
        (THREAD, 1, 0),
        (ELSE, 0, 1),
    }


def test_entries_without_direction_say_nothing() -> None:
    assert balances(entries((THREAD, "unknown", A))) == ()


def test_only_a_full_log_can_be_monopolised() -> None:
    noise = [(ELSE, "enter", B), (ELSE, "leave", B)] * 64
    assert monopolist(entries(*noise), 128) == (B, 128)
    assert monopolist(entries(*noise[:40]), 128) is None
    shared = [(ELSE, "enter", B), (ELSE, "leave", A)] * 64
    assert monopolist(entries(*shared), 128) is None
    assert monopolist((), 128) is None
    assert not is_full((), 0)
