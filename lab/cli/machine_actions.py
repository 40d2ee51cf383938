"""What `lab machine` does to a machine: one small function an action. Each says it, and returns its JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from lab.cli.console import errors, out, working
from lab.inventory import Host
from lab.machines import (
    BootDevice,
    BootOverride,
    BootsFromMedia,
    Machine,
    Restorable,
    Screen,
    SerialConsole,
)
from lab.machines.power import wait_for_power
from lab.model import ConfigurationError, InfrastructureError, PowerState, SystemClock

EJECT = "eject"
PNG = b"\x89PNG\r\n\x1a\n"


class Action(StrEnum):
    ON = "on"
    OFF = "off"
    RESET = "reset"
    NMI = "nmi"
    STATE = "state"
    CHECKPOINT = "checkpoint"
    CHECKPOINTS = "checkpoints"
    RESTORE = "restore"
    REMOVE = "remove"
    SCREENSHOT = "screenshot"
    CONSOLE = "console"
    MEDIA = "media"
    BOOT = "boot"


LOOKS = {Action.STATE, Action.CHECKPOINTS, Action.SCREENSHOT}
"""What changes nothing, and may be asked of any host."""

NEEDS: dict[Action, type] = {
    Action.CHECKPOINT: Restorable,
    Action.CHECKPOINTS: Restorable,
    Action.RESTORE: Restorable,
    Action.REMOVE: Restorable,
    Action.SCREENSHOT: Screen,
    Action.CONSOLE: SerialConsole,
    Action.MEDIA: BootsFromMedia,
    Action.BOOT: BootOverride,
}
ARGUMENTS = {
    Action.CHECKPOINT: "a name",
    Action.RESTORE: "the name of a checkpoint",
    Action.REMOVE: "the name of a checkpoint",
    Action.MEDIA: "a URL or path of an ISO image, or 'eject'",
    Action.BOOT: "cd, pxe or disk",
}
COMMANDS = {Action.ON: "on", Action.OFF: "off", Action.RESET: "reset", Action.NMI: "interrupt"}
"""What every machine can, with the key of its command where the machine is one of the user's commands."""

POWER = {Action.ON: PowerState.ON, Action.OFF: PowerState.OFF, Action.RESET: PowerState.ON}


@dataclass(frozen=True)
class Options:
    wait: bool
    memory: bool
    output: Path | None
    seconds: float | None
    json: bool

    def say(self, text: str) -> None:
        if not self.json:
            out.print(escape(text), soft_wrap=True)


Told = dict[str, object]


def _switch(call: Callable[[Machine], None], action: Action) -> Callable[[Host, Machine, str, Options], Told]:
    def act(host: Host, opened: Machine, what: str, options: Options) -> Told:
        call(opened)
        if not options.wait:
            options.say(f"{host.name}: {action} was asked for")
            return {"host": host.name, "asked": action}
        with working(f"waiting until {host.name} is {POWER[action]}"):
            state = wait_for_power(opened, POWER[action], host.name, host.timeouts, SystemClock())
        unknown = (
            f"{host.name}: {action} was carried out; its machine cannot tell whether it is {POWER[action]}"
        )
        options.say(unknown if state is PowerState.UNKNOWN else f"{host.name} is {state}")
        return {"host": host.name, "asked": action, "state": state}

    return act


def _nmi(host: Host, opened: Machine, what: str, options: Options) -> Told:
    opened.interrupt()
    options.say(f"{host.name}: the NMI was sent; a Windows that runs stops with 0x80 and writes a dump")
    return {"host": host.name, "asked": Action.NMI}


def _state(host: Host, opened: Machine, what: str, options: Options) -> Told:
    state = opened.power_state()
    options.say(state)
    return {"host": host.name, "state": state}


def _checkpoint(host: Host, opened: Machine, what: str, options: Options) -> Told:
    assert isinstance(opened, Restorable)
    opened.checkpoint(what, memory=options.memory)
    options.say(f"{host.name} has the checkpoint '{what}'")
    return {"host": host.name, "checkpoint": what}


def _checkpoints(host: Host, opened: Machine, what: str, options: Options) -> Told:
    assert isinstance(opened, Restorable)
    found = opened.checkpoints()
    if not options.json:
        table = Table("checkpoint", "taken", "memory", box=None, header_style="bold")
        for each in found:
            table.add_row(
                escape(each.name), each.at.isoformat() if each.at else "", "yes" if each.memory else ""
            )
        out.print(table)
    rows = [{"name": c.name, "at": c.at.isoformat() if c.at else None, "memory": c.memory} for c in found]
    return {"host": host.name, "checkpoints": rows}


def _restore(host: Host, opened: Machine, what: str, options: Options) -> Told:
    assert isinstance(opened, Restorable)
    with working(f"restoring '{what}'"):
        opened.restore(what)
    state = opened.power_state()
    options.say(f"{host.name} is as it was at '{what}', and {state}")
    return {"host": host.name, "restored": what, "state": state}


def _remove(host: Host, opened: Machine, what: str, options: Options) -> Told:
    assert isinstance(opened, Restorable)
    opened.remove_checkpoint(what)
    options.say(f"the checkpoint '{what}' of {host.name} is gone")
    return {"host": host.name, "removed": what}


def _screenshot(host: Host, opened: Machine, what: str, options: Options) -> Told:
    assert isinstance(opened, Screen)
    picture = opened.screenshot()
    if not picture.startswith(PNG):
        raise InfrastructureError(f"what the machine of {host.name} gave as its screen is no PNG")
    path = options.output or Path(f"{host.name}-{datetime.now():%Y%m%d-%H%M%S}.png")
    path.write_bytes(picture)
    options.say(str(path))
    return {"host": host.name, "file": str(path)}


def _console(host: Host, opened: Machine, what: str, options: Options) -> Told:
    from lab.cli.terminal import stream

    assert isinstance(opened, SerialConsole)
    with opened.console() as console:
        errors.print(f"[dim]console of {escape(host.name)}; Ctrl-] ends it[/]")
        count = stream(console, options.seconds)
    errors.print(f"\n[dim]{count} bytes[/]")
    return {"host": host.name, "bytes": count}


def _media(host: Host, opened: Machine, what: str, options: Options) -> Told:
    assert isinstance(opened, BootsFromMedia)
    if what == EJECT:
        opened.eject_media()
        options.say(f"the virtual drive of {host.name} is empty")
        return {"host": host.name, "media": None}
    with working("inserting it"):
        opened.insert_media(what)
    options.say(
        f"{what} is in the virtual drive of {host.name}; 'lab machine {host.name} boot cd' boots it once"
    )
    return {"host": host.name, "media": what}


def _boot(host: Host, opened: Machine, what: str, options: Options) -> Told:
    assert isinstance(opened, BootOverride)
    try:
        device = BootDevice(what)
    except ValueError:
        raise ConfigurationError(f"'{what}' cannot be booted from", help="Say cd, pxe or disk.") from None
    opened.boot_once(device)
    options.say(f"{host.name} boots from {device} next time")
    return {"host": host.name, "boot": device}


ACTIONS: dict[Action, Callable[[Host, Machine, str, Options], Told]] = {
    Action.ON: _switch(lambda m: m.power_on(), Action.ON),
    Action.OFF: _switch(lambda m: m.power_off(), Action.OFF),
    Action.RESET: _switch(lambda m: m.reset(), Action.RESET),
    Action.NMI: _nmi,
    Action.STATE: _state,
    Action.CHECKPOINT: _checkpoint,
    Action.CHECKPOINTS: _checkpoints,
    Action.RESTORE: _restore,
    Action.REMOVE: _remove,
    Action.SCREENSHOT: _screenshot,
    Action.CONSOLE: _console,
    Action.MEDIA: _media,
    Action.BOOT: _boot,
}
