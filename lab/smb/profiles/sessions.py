"""Clients that come, read once and go."""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile, Work

PROFILE = Profile(
    name="sessions",
    summary="connect, log on, one READ, log off, again and again on each connection",
    exercises="srv2's set-up and tear-down of connections, sessions and tree connects, and with them the "
    "end of what was opened; worker threads serve little else (hypothesis).",
    phases=(Phase("sessions", seconds=1.0, in_flight=4),),
    work=Work.SESSIONS,
)
