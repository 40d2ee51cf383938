"""A serial console on this terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from lab.machines import Console
from lab.model import LabError

ENDS = (b"\x1d", b"\x03")
"""Ctrl-] as telnet has it, and Ctrl-C."""

EVERY = 0.2
"""Seconds between two looks at whether it is to end."""

MOST_TYPED = 1024


def stream(console: Console, seconds: float | None) -> int:
    """Show what the console sends and send what is typed, until Ctrl-], Ctrl-C or `seconds`.

    Without a terminal nothing is sent. Returns how many bytes came; raises InfrastructureError when the
    connection is lost.
    """
    over = threading.Event()
    count = 0
    deadline = None if seconds is None else time.monotonic() + seconds
    with _keys(console, over):
        try:
            while not over.is_set() and (deadline is None or time.monotonic() < deadline):
                data = console.read(EVERY)
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
                count += len(data)
        except KeyboardInterrupt:  # how Ctrl-C comes where the terminal is not ours
            pass
    return count


@contextmanager
def _keys(console: Console, over: threading.Event) -> Iterator[None]:
    """What is typed goes to the console, from a thread of its own, until the block ends."""
    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (OSError, ValueError, termios.error):  # no terminal
        yield
        return
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            if not select.select([terminal], [], [], EVERY)[0]:
                continue
            typed = os.read(terminal, MOST_TYPED)
            end = min((typed.index(each) for each in ENDS if each in typed), default=-1)
            rest = typed[:end] if end >= 0 else typed
            try:
                if rest:
                    console.write(rest)
            except LabError:  # the reader meets the same
                return
            if end >= 0 or not typed:
                over.set()
                return

    keys = threading.Thread(target=send, name="keys", daemon=True)
    tty.setraw(terminal)
    keys.start()
    try:
        yield
    finally:
        done.set()
        keys.join(timeout=5)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
