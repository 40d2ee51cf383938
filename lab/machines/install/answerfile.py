"""The answer file of one host: `autounattend.xml`, and the files that it uses beside it."""

from __future__ import annotations

import base64
import functools
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from lab.inventory.install import InstallSettings
from lab.machines.install.certificate import GuestCertificate
from lab.machines.install.errors import BadAnswerFile
from lab.machines.install.validate import validate
from lab.machines.install.xml import MOST_BYTES
from lab.model import ConfigurationError

NAME = "autounattend.xml"
DRIVERS = "$WinPEDriver$"
"""Folder in the root of the medium."""

FOLDER = "lab"
COPIED = r"%SystemRoot%\Setup\lab"

_LETTERS = "CDEFGHIJKLMNOPQRSTUVWXYZ"
_COPY = (
    f"cmd /c for %d in ({' '.join(_LETTERS)}) do if exist %d:\\{FOLDER}\\first-logon.ps1 "
    f"xcopy /e /i /y /q %d:\\{FOLDER} {COPIED}"
)
_FIRST_LOGON = f"cmd /c powershell -NoProfile -ExecutionPolicy Bypass -File {COPIED}\\first-logon.ps1"
_DUMPS = {"complete": 1, "active": 1, "kernel": 2, "automatic": 7}


@dataclass(frozen=True)
class Answers:
    """What is put on the medium for one host, apart from its drivers. It holds secrets, and shows none."""

    files: dict[str, bytes]
    computer_name: str
    image: tuple[str, str] | None
    """How the answer file chooses an edition, as ("/IMAGE/INDEX", "2"); None: by its product key."""

    def __repr__(self) -> str:
        return f"Answers({', '.join(self.files)})"


def setup_password(password: str, suffix: str = "AdministratorPassword") -> str:
    """A password as Setup takes it: Base64 of UTF-16LE of it and the name of its setting.

    This hides it from a glance and is no encryption: whoever has the answer file has the password.
    """
    return base64.b64encode((password + suffix).encode("utf-16-le")).decode()


def answers(
    settings: InstallSettings, computer_name: str, image_index: int, certificate: GuestCertificate
) -> Answers:
    """Render and check.

    Raises BadAnswerFile when Setup would not take it, ConfigurationError when a secret or file is missing.
    """
    check_computer_name(computer_name)
    values = _values(settings, computer_name, image_index)
    own = settings.answer_file
    if own is None:
        name, text = "the answer file", _render("autounattend.xml.j2", values).encode()
    else:
        name, text = str(own), own_answer_file(own, values)
    found = validate(text, name, firmware=settings.firmware)
    script = _render(
        "first-logon.ps1.j2",
        {
            "dump_enabled": _DUMPS[settings.dump],
            "filter_pages": settings.dump == "active",
            "certificate_password": certificate.password,
            "winrm_port": settings.winrm_port,
        },
    )
    files = {
        NAME: text,
        f"{FOLDER}/first-logon.ps1": b"\xef\xbb\xbf" + script.replace("\n", "\r\n").encode(),
        f"{FOLDER}/winrm.pfx": certificate.pfx,
    }
    return Answers(files, found.computer_name or computer_name, found.image)


def check_computer_name(name: str) -> None:
    """Raises ConfigurationError for a name that Windows does not take."""
    if not 0 < len(name) <= 15 or name.isdigit() or not name.replace("-", "").isalnum() or not name.isascii():
        raise ConfigurationError(
            f"'{name}' is no name for a Windows computer",
            help="Give install.computer_name: 1 to 15 letters, digits and hyphens, not digits alone.",
        )


def own_answer_file(path: Path, values: dict[str, Any]) -> bytes:
    """The user's file as it is; one that ends in .j2 is rendered with the names of `autounattend.xml.j2`."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise BadAnswerFile(f"the answer file {path} cannot be read: {error.strerror}") from None
    if data is None:
        raise BadAnswerFile(f"{path} is larger than any answer file")
    if path.suffix != ".j2":
        return data
    try:
        template = _own_environment().from_string(data.decode("utf-8-sig"))
        return template.render(values).encode()
    except UnicodeDecodeError:
        raise BadAnswerFile(f"{path}:1: is not UTF-8 text") from None
    except jinja2.TemplateSyntaxError as error:
        raise BadAnswerFile(f"{path}:{error.lineno}: is no template: {error.message}") from None
    except jinja2.TemplateError as error:
        raise BadAnswerFile(
            f"{path} cannot be filled in: {error.message}", help=f"Names are: {', '.join(sorted(values))}."
        ) from None


def _values(settings: InstallSettings, computer_name: str, image_index: int) -> dict[str, Any]:
    password = settings.administrator_password.reveal()
    network = settings.network
    version = ipaddress.ip_interface(network.address).version if network else 4
    return {
        "language": settings.language,
        "keyboard": settings.keyboard or settings.language,
        "driver_paths": [f"{each}:\\{DRIVERS}" for each in _LETTERS] if settings.drivers else [],
        "disk": settings.disk,
        "firmware": settings.firmware,
        "image_index": image_index,
        "product_key": settings.product_key.reveal() if settings.product_key else "",
        "computer_name": computer_name,
        "time_zone": settings.time_zone,
        "commands": settings.commands,
        "network": network,
        "family": f"IPv{version}",
        "everywhere": "::/0" if version == 6 else "0.0.0.0/0",
        "administrator_password": setup_password(password),
        "autologon_password": setup_password(password, "Password"),
        "copy_command": _COPY,
        "first_logon_command": _FIRST_LOGON,
    }


def _quoted(text: str) -> str:
    """As a string of PowerShell, in which nothing is expanded."""
    return "'" + text.replace("'", "''") + "'"


def _render(name: str, values: dict[str, Any]) -> str:
    return _environment().get_template(name).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab.machines.install", ""),
        autoescape=lambda name: name is not None and name.endswith(".xml.j2"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = _quoted
    return environment


def _own_environment() -> jinja2.Environment:
    return SandboxedEnvironment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
