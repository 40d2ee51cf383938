"""Small Windows ISOs, made by genisoimage and wimlib: tools that have nothing to do with our readers."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.inventory.install import InstallMedia, InstallSettings
from lab.inventory.secrets import Secret

STANDARD = "Windows Server 2019 SERVERSTANDARD"
DATACENTER = "Windows Server 2019 SERVERDATACENTER"
PASSWORD = "Pa<ss&wörd1"
NEEDED = ("genisoimage", "wimlib-imagex", "7z", "udfinfo")


def missing() -> str:
    """Why these tests cannot run; "" when they can."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    return f"{', '.join(lacking)} not installed: see tests/servers/install.sh" if lacking else ""


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Sample:
    iso: Path
    tree: Path
    """What is in it."""


def boot_files(tree: Path) -> None:
    boot = tree / "efi" / "microsoft" / "boot"
    boot.mkdir(parents=True, exist_ok=True)
    (boot / "efisys.bin").write_bytes(b"press any key ".ljust(1474560, b"\x11"))
    (boot / "efisys_noprompt.bin").write_bytes(b"no key ".ljust(1474560, b"\x22"))
    (tree / "boot").mkdir(exist_ok=True)
    (tree / "boot" / "etfsboot.com").write_bytes(b"\xfa" * 4096)
    (tree / "boot" / "bootfix.bin").write_bytes(b"press any key" * 10)


def wim(
    path: Path,
    names: tuple[str, ...] = (STANDARD, DATACENTER),
    arch: int = 9,
    *options: str,
    build: int = 17763,
    languages: tuple[str, ...] = ("en-US",),
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.parent.parent.parent / "content"
    (content / "Windows").mkdir(parents=True, exist_ok=True)
    (content / "Windows" / "notepad.exe").write_bytes(b"MZ" * 100)
    for index, name in enumerate(names, 1):
        verb = "capture" if index == 1 else "append"
        run("wimlib-imagex", verb, content, path, name, *(options if verb == "capture" else ()))
        spoken = [f"WINDOWS/LANGUAGES/LANGUAGE[{n}]={each}" for n, each in enumerate(languages, 1)]
        properties = (f"WINDOWS/ARCH={arch}", f"WINDOWS/VERSION/BUILD={build}", *spoken)
        flags = [f"--image-property={each}" for each in properties]
        run("wimlib-imagex", "info", path, str(index), *flags)


def make_iso(tree: Path, target: Path, *, udf: bool = True, boot: bool = True) -> Path:
    bios = ("-b", "boot/etfsboot.com", "-no-emul-boot", "-boot-load-size", "8", "-c", "boot.cat")
    efi = ("-eltorito-alt-boot", "-e", "efi/microsoft/boot/efisys.bin", "-no-emul-boot")
    kinds = ("-udf",) if udf else ("-J",)
    options = (*kinds, "-iso-level", "3", "-V", "SSS_X64", *((*bios, *efi) if boot else ()))
    run("genisoimage", "-quiet", *options, "-o", target, tree)
    return target


def sample(folder: Path, **changed: Any) -> Sample:
    """As a Windows Server's ISO is laid out, and 12 MiB in all."""
    tree = folder / "tree"
    boot_files(tree)
    wim(tree / "sources" / "install.wim")
    (tree / "sources" / "boot.wim").write_bytes(bytes(range(256)) * (8 << 12))
    return Sample(make_iso(tree, folder / "windows.iso", **changed), tree)


def settings(iso: Path, **changed: Any) -> InstallSettings:
    """The password is in the environment variable INSTALL_PASSWORD."""
    given: dict[str, Any] = {
        "iso": iso,
        "edition": DATACENTER,
        "accept_license_terms": True,
        "administrator_password": Secret("env", "INSTALL_PASSWORD"),
        "media": InstallMedia(listen="127.0.0.1"),
    }
    return InstallSettings(**(given | changed))
