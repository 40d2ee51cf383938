"""A Windows ISO: what it installs, whether it starts by itself, and the image made from it for one host."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.machines.install.errors import BadImage
from lab.machines.install.graft import Content, Graft
from lab.machines.install.image import Image
from lab.machines.install.udf import SECTOR, Node, Udf
from lab.machines.install.wim import Edition, editions
from lab.model import ConfigurationError

INSTALL_IMAGES = ("sources/install.wim", "sources/install.esd")
EFI_BOOT = "efi/microsoft/boot/efisys.bin"
EFI_BOOT_SILENT = "efi/microsoft/boot/efisys_noprompt.bin"
BIOS_PROMPT = "bootfix.bin"

_BOOT_RECORD = 17
_MOST_BOOT_IMAGE = 32 << 20
_BIOS, _EFI = 0, 0xEF


@dataclass(frozen=True)
class BootEntry:
    """A line of the El Torito boot catalogue."""

    platform: int
    offset: int
    """Byte of the image where its sector number stands."""

    sector: int


@dataclass(frozen=True)
class WindowsIso:
    """What an ISO says of itself."""

    path: Path
    editions: tuple[Edition, ...]
    boots_uefi: bool
    boots_bios: bool

    def edition(self, wanted: str | int) -> Edition:
        """By name, whatever the letters' case, or by number. ConfigurationError that lists what there is."""
        for each in self.editions:
            if each.index == wanted or str(wanted).casefold() in (each.name.casefold(), str(each.index)):
                return each
        known = "; ".join(f"{each.index}: {each.name}" for each in self.editions) or "none"
        raise ConfigurationError(f"{self.path} has no edition '{wanted}'", help=f"Its editions are: {known}.")

    def check(self, wanted: str | int, firmware: str) -> Edition:
        """The edition, when it can be installed on amd64 by that firmware ("uefi", "bios").

        Raises ConfigurationError.
        """
        edition = self.edition(wanted)
        if edition.architecture not in ("amd64", ""):
            raise ConfigurationError(
                f"'{edition.name}' of {self.path} is for {edition.architecture}, not for amd64",
                help="Take the x64 ISO.",
            )
        if not (self.boots_uefi if firmware == "uefi" else self.boots_bios):
            other = "bios" if firmware == "uefi" else "uefi"
            raise BadImage(
                f"{self.path} does not boot with {firmware} firmware",
                help=f"Set firmware: {other} if the host has it, or take the ISO as Microsoft gives it.",
            )
        return edition


def inspect(path: Path) -> WindowsIso:
    """Read what matters of an ISO, some 100 KiB. Raises BadImage when it cannot install a Windows."""
    with Udf(path) as udf:
        found = _install_image(udf)
        if found is None:
            raise BadImage(
                f"{path} has no install image ({' or '.join(INSTALL_IMAGES)})",
                help="It is not an ISO of Windows Setup, or one whose image was split (install.swm).",
            )
        name, node = found
        read = functools.partial(_part, udf, node)
        platforms = {entry.platform for entry in boot_entries(udf)}
        return WindowsIso(
            path, editions(read, node.length, f"{name} of {path}"), _EFI in platforms, _BIOS in platforms
        )


def compose(path: Path, files: Mapping[str, Content], firmware: str) -> Image:
    """The ISO with `files` added, that starts without a key being pressed.

    Raises BadImage, ConfigurationError. The caller closes the image.
    """
    with Udf(path) as udf:
        graft = Graft(udf)
        if firmware == "uefi":
            _start_silently(udf, graft)
        else:
            _drop_bios_prompt(udf, graft)
        graft.add(files)
        return graft.finish()


def boot_entries(udf: Udf) -> tuple[BootEntry, ...]:
    """The bootable lines of the boot catalogue (El Torito 1.0); () when the image does not boot."""
    record = udf.read(_BOOT_RECORD * SECTOR, SECTOR)
    if not record.startswith(b"\0CD001\1EL TORITO SPECIFICATION"):
        return ()
    (at,) = struct.unpack_from("<I", record, 71)
    catalogue = udf.read(at * SECTOR, SECTOR)
    if catalogue[0] != 1 or catalogue[30:32] != b"\x55\xaa":
        return ()
    found, platform, left = [], catalogue[1], 1
    for line in range(32, SECTOR, 32):
        kind = catalogue[line]
        if left:
            left -= 1
            if kind == 0x88:
                (sector,) = struct.unpack_from("<I", catalogue, line + 8)
                found.append(BootEntry(platform, at * SECTOR + line + 8, sector))
        elif kind in (0x90, 0x91):
            platform, left = catalogue[line + 1], struct.unpack_from("<H", catalogue, line + 2)[0]
        else:
            break
    return tuple(found)


def _start_silently(udf: Udf, graft: Graft) -> None:
    """Let UEFI start the boot image that does not ask for a key, which every Windows ISO brings along.

    An image that is neither of the two was put there by somebody, and stays.
    """
    asking, silent = udf.find(EFI_BOOT), udf.find(EFI_BOOT_SILENT)
    if asking is None:
        return
    content = udf.data(asking, most=_MOST_BOOT_IMAGE)
    for entry in boot_entries(udf):
        at = entry.sector * SECTOR
        if entry.platform != _EFI or at + len(content) > udf.size or udf.read(at, len(content)) != content:
            continue
        if silent is None or len(silent.extents) != 1 or silent.length > asking.length:
            raise BadImage(
                f"{udf.path} waits for a key when UEFI starts it, and lacks {EFI_BOOT_SILENT}",
                help="Take the ISO as Microsoft gives it.",
            )
        struct.pack_into(
            "<I",
            graft.sector(entry.offset // SECTOR),
            entry.offset % SECTOR,
            silent.extents[0].offset // SECTOR,
        )


def _drop_bios_prompt(udf: Udf, graft: Graft) -> None:
    """Without boot/bootfix.bin the BIOS boot code does not ask for a key when the disk has a system."""
    folder = udf.find("boot")
    if folder is not None and folder.folder:
        graft.rename(folder, BIOS_PROMPT, "bootfix.off")


def _install_image(udf: Udf) -> tuple[str, Node] | None:
    for name in INSTALL_IMAGES:
        node = udf.find(name)
        if node is not None and not node.folder:
            return name, node
    return None


def _part(udf: Udf, node: Node, offset: int, size: int) -> bytes:
    return udf.data(node, offset, size)
