"""Hosts of a pool that exist: put back to their baseline where they can be, powered on, handed out."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from lab.inventory import Host, Pool
from lab.machines import Machine, Restorable, open_machine
from lab.machines.power import wait_for_power
from lab.model import Clock, LabError, PowerState
from lab.provision.maker import AT_ONCE, Candidate, Stock, Tell, first, not_expendable, not_had
from lab.windows import open_guest


class Rack:
    """See `lab.provision.maker.Maker`. A member that cannot be restored is taken as it is."""

    def __init__(self, pool: Pool, hosts: Mapping[str, Host], clock: Clock) -> None:
        self._pool = pool
        self._hosts = hosts
        self._clock = clock

    def stock(self) -> Stock:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stock") as threads:
            found = tuple(threads.map(self._candidate, self._pool.members))
        return Stock(
            found,
            warnings=_as_they_are([each.name for each in found if not each.obstacle and each.how == TAKEN]),
        )

    def make(self, name: str, tell: Tell) -> Host:
        host = self._hosts[name]
        machine = open_machine(host, self._clock)
        self._restore(machine, tell)
        if machine.power_state() is not PowerState.ON:
            tell("powering on")
            machine.power_on()
            wait_for_power(machine, PowerState.ON, name, host.timeouts, self._clock)
        tell("waiting for its guest")
        with open_guest(host, self._clock) as guest:
            guest.wait_until_reachable()
        return host

    def unmake(self, name: str, tell: Tell) -> None:
        """The baseline again, where there is one. Its power is then as the checkpoint says."""
        self._restore(open_machine(self._hosts[name], self._clock), tell)

    def wipes(self, name: str) -> bool:
        return self._has_baseline(open_machine(self._hosts[name], self._clock))

    def _candidate(self, name: str) -> Candidate:
        host = self._hosts[name]
        if not host.expendable:
            return not_expendable(name, "")
        try:
            with open_guest(host, self._clock):  # opened, not asked: it may be off
                host.smb_password.reveal()
            machine = open_machine(host, self._clock)
            machine.power_state()
            if not isinstance(machine, Restorable):
                return Candidate(name, TAKEN)
            if self._has_baseline(machine):
                return Candidate(name, f"restore the checkpoint '{self._pool.baseline}' and power on")
        except LabError as error:
            return not_had(name, "", error)
        return Candidate(
            name, f"power on, and take the checkpoint '{self._pool.baseline}' once it is accepted"
        )

    def _restore(self, machine: Machine, tell: Tell) -> None:
        if self._has_baseline(machine):
            assert isinstance(machine, Restorable)
            tell(f"restoring the checkpoint '{self._pool.baseline}'")
            machine.restore(self._pool.baseline)

    def _has_baseline(self, machine: Machine) -> bool:
        return isinstance(machine, Restorable) and any(
            each.name == self._pool.baseline for each in machine.checkpoints()
        )


TAKEN = "power on, and take it as it is"


def _as_they_are(names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    told = ", ".join(first(names, "…"))
    one = len(names) == 1
    return (
        f"{told} cannot be put back to a checkpoint: "
        f"{'it is' if one else 'they are'} taken, and handed back, as {'it is' if one else 'they are'}",
    )
