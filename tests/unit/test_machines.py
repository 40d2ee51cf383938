"""Machines from the inventory, and power by the user's own commands."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import get_args

import pytest

from lab.inventory import MachineSettings, load
from lab.machines import BACK_ENDS, Machine, Restorable, open_machine
from lab.machines.fixed import FixedMachine
from lab.model import ConfigurationError, InfrastructureError, PowerState, TimedOut

PYTHON = sys.executable


def recording(folder: Path, what: str) -> list[str]:
    """A command that writes its arguments, one a line, to a file."""
    code = "import sys; open(sys.argv[1], 'a').write('\\n'.join(sys.argv[2:]) + '\\n')"
    return [PYTHON, "-c", code, str(folder / "seen"), what, "; touch pwned", "$HOME"]


def seen(folder: Path) -> list[str]:
    return (folder / "seen").read_text().splitlines()


def test_every_kind_of_the_inventory_has_a_back_end() -> None:
    kinds = {get_args(model.model_fields["kind"].annotation)[0] for model in get_args(MachineSettings)}
    assert kinds == set(BACK_ENDS)


def test_a_fixed_machine_is_a_machine_and_cannot_be_restored() -> None:
    machine = FixedMachine("a", "192.0.2.1")
    assert isinstance(machine, Machine) and not isinstance(machine, Restorable)
    assert machine.address() == "192.0.2.1"
    assert machine.power_state() is PowerState.UNKNOWN


@pytest.mark.parametrize("what", ["power_on", "power_off", "reset", "interrupt"])
def test_without_a_command_it_says_what_is_missing(what: str) -> None:
    with pytest.raises(InfrastructureError, match="host 'a' has no command to do") as caught:
        getattr(FixedMachine("a", "x"), what)()
    assert "machine." in caught.value.help


def test_commands_are_run_without_a_shell(tmp_path: Path) -> None:
    names = {"on": "power_on", "off": "power_off", "reset": "reset", "interrupt": "interrupt"}
    machine = FixedMachine("a", "x", **{name: recording(tmp_path, name) for name in names})  # type: ignore[arg-type]
    for method in names.values():
        getattr(machine, method)()
    assert seen(tmp_path)[::3] == list(names)
    assert seen(tmp_path)[1:3] == ["; touch pwned", "$HOME"]


def test_reset_falls_back_to_off_and_on(tmp_path: Path) -> None:
    FixedMachine("a", "x", on=recording(tmp_path, "on"), off=recording(tmp_path, "off")).reset()
    assert seen(tmp_path)[::3] == ["off", "on"]


@pytest.mark.parametrize(("printed", "state"), [("on", PowerState.ON), (" OFF\\n", PowerState.OFF)])
def test_the_state_is_what_its_command_prints(printed: str, state: PowerState) -> None:
    machine = FixedMachine("a", "x", state=[PYTHON, "-c", f"print('{printed}')"])
    assert machine.power_state() is state


def test_a_state_that_is_neither() -> None:
    with pytest.raises(InfrastructureError, match="printed 'maybe' instead of on or off"):
        FixedMachine("a", "x", state=[PYTHON, "-c", "print('maybe')"]).power_state()


def test_commands_that_fail() -> None:
    failing = [PYTHON, "-c", "import sys; sys.exit('outlet 7 is locked')"]
    with pytest.raises(InfrastructureError, match="exit code 1: outlet 7 is locked"):
        FixedMachine("a", "x", reset=failing).reset()
    with pytest.raises(ConfigurationError, match=r"\(no-such-command\) does not exist"):
        FixedMachine("a", "x", reset=["no-such-command"]).reset()
    slow = [PYTHON, "-c", "import time; time.sleep(30)"]
    with pytest.raises(TimedOut, match=r"waited 0\.3 s for power; last seen: the 'reset' command .* has not"):
        FixedMachine("a", "x", reset=slow, seconds=0.3).reset()


def test_what_a_command_leaves_running_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It holds the command's standard output open; with a pipe, this would never end."""
    leaving = f"sleep 600 & echo $! > {tmp_path}/left; echo on"
    try:
        machine = FixedMachine("a", "x", state=["sh", "-c", leaving])
        assert machine.power_state() is PowerState.ON
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)


def test_a_command_that_refuses_what_is_done_already() -> None:
    refusing = [PYTHON, "-c", "import sys; sys.exit('it is on')"]
    machine = FixedMachine("a", "x", on=refusing, off=refusing, state=[PYTHON, "-c", "print('on')"])
    machine.power_on()
    with pytest.raises(InfrastructureError, match="exit code 1: it is on"):
        machine.power_off()


def test_from_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "hosts:\n  desk:\n    address: 192.0.2.7\n"
        f"    machine: {{kind: fixed, state: [{PYTHON}, -c, print('on')]}}\n"
        "    guest: {shell: {kind: psrp, user: u, password: {env: X}}}\n"
    )
    machine = open_machine(load([tmp_path]).host("desk"))
    assert machine.power_state() is PowerState.ON and machine.address() == "192.0.2.7"


def test_a_vcenters_machine_without_pyvmomi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "controllers:\n  vc: {kind: vcenter, url: 'https://vc', user: u, password: {env: X}}\n"
        "hosts:\n  web:\n    address: 192.0.2.1\n    machine: {kind: vsphere, controller: vc, vm: web}\n"
        "    guest: {shell: {kind: psrp, user: crash, password: {env: X}}}\n"
    )
    host = load([path]).host("web")
    monkeypatch.setattr("lab.machines.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pyvmomi is not installed") as caught:
        open_machine(host)
    assert "bugcheck-lab[vsphere]" in caught.value.help
