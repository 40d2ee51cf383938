"""Power, NMI, boot override and virtual media by a management controller that speaks Redfish, by sushy.

TLS is always verified. Basic authentication, so that no session is left open on controllers that allow few.
Where real controllers leave the standard is data: `quirks`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sushy
from sushy import exceptions

from lab.inventory import Host
from lab.inventory import RedfishMachine as Settings
from lab.machines.port import BootDevice
from lab.machines.quirks import RESET_INSTEAD, Behaviour
from lab.machines.redfish_link import RETRY_SECONDS, RedfishLink, busy, empty, said
from lab.model import (
    Clock,
    ConfigurationError,
    InfrastructureError,
    PowerState,
    SystemClock,
    TimedOut,
    wait_until,
)

SETTLE_SECONDS = 15.0
"""A boot override, until it can be read back."""

_STATES = {
    sushy.PowerState.ON: PowerState.ON,
    sushy.PowerState.OFF: PowerState.OFF,
    sushy.PowerState.POWERING_ON: PowerState.OFF,
    sushy.PowerState.POWERING_OFF: PowerState.ON,
}
_TARGETS = {
    BootDevice.CD: sushy.BootSource.CD,
    BootDevice.PXE: sushy.BootSource.PXE,
    BootDevice.DISK: sushy.BootSource.HDD,
}


class RedfishMachine:
    """See `lab.machines.port`: Machine, BootsFromMedia."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        ca_file: Path | None,
        system: str,
        address: str,
        connect_seconds: float,
        power_seconds: float = 60,
        media_seconds: float = 300,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._link = RedfishLink(
            url,
            user=user,
            password=password,
            ca_file=ca_file,
            system=system,
            connect_seconds=connect_seconds,
            power_seconds=power_seconds,
            clock=self._clock,
        )
        self._place = self._link.place
        self._address = address
        self._power_seconds = power_seconds
        self._media_seconds = media_seconds

    # Power

    def power_state(self) -> PowerState:
        return self._link.asked(self._read_power)

    def power_on(self) -> None:
        self._reset(sushy.ResetType.ON, PowerState.ON)

    def power_off(self) -> None:
        self._reset(sushy.ResetType.FORCE_OFF, PowerState.OFF)

    def reset(self) -> None:
        """Power is cycled where the controller offers no reset."""
        if self._offered(sushy.ResetType.FORCE_RESTART) is not None:
            self._reset(sushy.ResetType.FORCE_RESTART)
            return
        self.power_off()
        wait_until(
            lambda: self.power_state() is PowerState.OFF or None,
            wait="power",
            seconds=self._power_seconds,
            clock=self._clock,
            last_seen=lambda: f"{self._place} still shows the machine as on",
        )
        self.power_on()

    def interrupt(self) -> None:
        self._reset(sushy.ResetType.NMI)

    def address(self) -> str:
        return self._address

    def _read_power(self) -> PowerState:
        return _STATES.get(self._link.fresh().power_state, PowerState.UNKNOWN)

    def _offered(self, kind: sushy.ResetType) -> sushy.ResetType | None:
        """The reset type to use for `kind`; None when the controller offers none."""
        offered = self._link.asked(lambda: self._link.system().get_allowed_reset_system_values())
        wanted = (kind.value, *RESET_INSTEAD.get(kind.value, ()))
        return next((each for name in wanted for each in offered if each.value == name), None)

    def _reset(self, kind: sushy.ResetType, wanted: PowerState | None = None) -> None:
        used = self._offered(kind)
        if used is None:
            offered = self._link.asked(lambda: self._link.system().get_allowed_reset_system_values())
            raise InfrastructureError(
                f"{self._place} does not offer {kind.value}; "
                f"it offers {', '.join(sorted(each.value for each in offered)) or 'no reset type'}",
                help="Use another way to do it, or update the controller's firmware.",
            )

        def post() -> None:
            try:
                self._link.system().reset_system(used)
            except exceptions.HTTPError as error:
                if error.status_code in (405, 501):
                    raise InfrastructureError(
                        f"{self._place} offers {used.value}, and does not do it: {said(error)}",
                        help="Use another way to do it, or update the controller's firmware.",
                    ) from None
                if error.status_code in (401, 403, 503) or wanted is None or self._read_power() is not wanted:
                    raise
                # Some controllers refuse what is done already.

        self._link.asked(post)

    # Boot and media

    def boot_once(self, device: BootDevice) -> None:
        knows = self._link.asked(self._link.behaviour)
        if device is BootDevice.CD and knows.cd_refusal:
            raise InfrastructureError(
                f"{self._place} cannot be told to boot from its virtual CD: {knows.cd_refusal}",
                help="Boot by PXE, or choose the virtual CD by hand.",
            )
        if device is BootDevice.CD and knows.cd_attributes:
            self._link.asked(lambda: self._link.set_attributes(knows.cd_attributes, knows.attributes_at))
            return
        target = _TARGETS[device]
        self._link.asked(lambda: self._override(target, knows))
        targets = knows.cd_reads_back if device is BootDevice.CD else frozenset({target.value})
        seen = "nothing"

        def taken() -> bool | None:
            nonlocal seen
            boot = self._link.asked(lambda: self._link.fresh().boot)
            found = (getattr(boot.target, "value", "nothing"), getattr(boot.enabled, "value", "nothing"))
            seen = f"{found[0]}, {found[1]}"
            return (found[0] in targets and found[1] in knows.once_reads_back) or None

        try:
            wait_until(taken, wait="boot override", seconds=SETTLE_SECONDS, clock=self._clock, every=1.0)
        except TimedOut:
            raise InfrastructureError(
                f"{self._place} took the order to boot from {target.value} once, but reads back as {seen}",
                help="Update the controller's firmware, or set the boot order in the server's setup.",
            ) from None

    def insert_media(self, source: str) -> None:
        if "://" not in source:
            raise ConfigurationError(
                f"{self._place} fetches an image by itself, and cannot reach the file '{source}'",
                help="Give a URL that the controller can reach, as in http://server/windows.iso.",
            )
        self.eject_media()
        seen = "the drive is empty"

        def tried() -> bool | None:
            nonlocal seen
            try:
                self._link.drive().insert_media(source)
            except exceptions.HTTPError as error:
                if not busy(error):
                    raise InfrastructureError(
                        f"{self._place} did not take the image {source}: {said(error)}",
                        help=" ".join(
                            (
                                "Look whether the controller can reach the address.",
                                self._link.behaviour().media_hint,
                            )
                        ).strip(),
                    ) from None
                seen = said(error)
                return None
            return True

        self._media_wait(tried, lambda: seen)
        self._media_wait(lambda: not empty(self._link.drive()) or None, lambda: "the drive is empty")

    def eject_media(self) -> None:
        def emptied() -> bool | None:
            drive = self._link.drive()
            if empty(drive):
                return True
            drive.eject_media()  # an answer that it is not possible now is silence here; so is asked again
            return empty(self._link.drive()) or None

        self._media_wait(emptied, lambda: "the image is still there")

    def _override(self, target: sushy.BootSource, knows: Behaviour) -> None:
        system = self._link.fresh()
        once, boot = sushy.BootSourceOverrideEnabled.ONCE, system.boot
        # Some refuse what they are set to already: storyboard.openstack.org/#!/story/2007355
        enabled = once if knows.names_everything or boot.enabled is not once else None
        system.set_system_boot_options(target, enabled, boot.mode if knows.names_everything else None)

    def _media_wait(self, done: Callable[[], bool | None], seen: Callable[[], str]) -> None:
        wait_until(
            lambda: self._link.asked(done, wait="media", seconds=self._media_seconds),
            wait="media",
            seconds=self._media_seconds,
            clock=self._clock,
            every=RETRY_SECONDS,
            last_seen=lambda: f"{self._place}: {seen()}",
        )


def open_machine(settings: Settings, host: Host, clock: Clock) -> RedfishMachine:
    """Raises ConfigurationError when the password or the CA file is missing."""
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise ConfigurationError(
            f"host '{host.name}': the certificate file {settings.ca_file} of machine.ca_file does not exist",
            help="Put the PEM file of the certificate's issuer there.",
        )
    return RedfishMachine(
        settings.url,
        user=settings.user,
        password=settings.password.reveal(),
        ca_file=settings.ca_file,
        system=settings.system,
        address=host.address,
        connect_seconds=host.timeouts.connect,
        power_seconds=host.timeouts.power,
        media_seconds=host.timeouts.media,
        clock=clock,
    )
