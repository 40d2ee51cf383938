"""The specification that makes a clone."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from lab.machines.vsphere import customize
from lab.machines.vsphere.marks import Mark
from lab.machines.vsphere.place import Order, Place, Serial


def placement(place: Place) -> Any:
    """As much of the specification as Storage DRS has to know: where to, and what of. No secrets."""
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(folder=place.folder, pool=place.pool),
        powerOn=False,  # not before it bears its marks
        template=False,
    )
    if place.snapshot is not None:
        spec.location.diskMoveType = "createNewChildDiskBacking"
        spec.snapshot = place.snapshot
    return spec


def specification(order: Order, place: Place, datastore: Any, mark: Mark) -> Any:
    """The clone's specification. It contains the passwords of a customization: let it not live long."""
    spec = placement(place)
    spec.location.datastore = datastore
    spec.config = _config(order, place, mark)
    if order.customization is not None:
        spec.customization = customize.specification(order.customization, len(_adapters(place.devices)))
    return spec


def _config(order: Order, place: Place, mark: Mark) -> Any:
    extra = dict(order.extra) | (order.customization.extra if order.customization else {})
    config: Any = vim.vm.ConfigSpec(
        annotation=mark.notes,
        extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in extra.items()],
    )
    if order.cpus is not None:
        config.numCPUs = order.cpus
    if order.memory_mb is not None:
        config.memoryMB = order.memory_mb
    if order.firmware is not None:
        config.firmware = order.firmware
    if order.secure_boot is not None:
        config.bootOptions = vim.vm.BootOptions(efiSecureBootEnabled=order.secure_boot)
    if place.backing is not None:
        config.deviceChange.append(_adapter(place))
    if order.serial is not None:
        config.deviceChange.append(_serial(order.serial, place.devices))
    return config


def _adapter(place: Place) -> Any:
    """The first adapter on the wanted network, with a MAC address of its own; one is added to none."""
    first = next(iter(_adapters(place.devices)), None)
    card = type(first)(key=first.key) if first is not None else vim.vm.device.VirtualVmxnet3(key=-1)
    if first is not None:
        card.deviceInfo = first.deviceInfo
        card.controllerKey, card.unitNumber = first.controllerKey, first.unitNumber
    card.addressType = "assigned"
    card.backing = place.backing
    card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
        startConnected=True, connected=False, allowGuestControl=True
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add" if first is None else "edit", device=card)


def _serial(wanted: Serial, devices: tuple[Any, ...]) -> Any:
    """The first serial port; one is added where there is none."""
    ports = [each for each in devices if isinstance(each, vim.vm.device.VirtualSerialPort)]
    port = vim.vm.device.VirtualSerialPort(
        key=ports[0].key if ports else -2,
        deviceInfo=ports[0].deviceInfo if ports else None,
        yieldOnPoll=True,
        backing=vim.vm.device.VirtualSerialPort.URIBackingInfo(
            serviceURI=wanted.uri, direction=wanted.direction
        ),
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, connected=False, allowGuestControl=True
        ),
    )
    return vim.vm.device.VirtualDeviceSpec(operation="edit" if ports else "add", device=port)


def _adapters(devices: tuple[Any, ...]) -> list[Any]:
    return [each for each in devices if isinstance(each, vim.vm.device.VirtualEthernetCard)]
