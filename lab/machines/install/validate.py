"""Would Windows Setup take this answer file, and get through without a question?

Structure as Windows System Image Manager writes it ("Windows Setup configuration passes", "Unattended Windows
Setup reference"). Setup names no line when it stops; here each problem is a sentence with one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.machines.install.disks import disk_problems, number
from lab.machines.install.errors import BadAnswerFile
from lab.machines.install.problem import Problem
from lab.machines.install.xml import Element, parse

NAMESPACE = "urn:schemas-microsoft-com:unattend"
CPI = "urn:schemas-microsoft-com:cpi"
WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
TOKEN = "31bf3856ad364e35"
PASSES = (
    *("windowsPE", "offlineServicing", "generalize", "specialize"),
    *("auditSystem", "auditUser", "oobeSystem"),
)
ARCHITECTURES = ("amd64", "arm64", "wow64", "x86", "arm", "ia64", "msil")
ACTIONS = ("add", "modify", "remove")

_AFTER_PE = tuple(each for each in PASSES if each != "windowsPE")
_PASSES_OF = {
    "Microsoft-Windows-Setup": ("windowsPE",),
    "Microsoft-Windows-International-Core-WinPE": ("windowsPE",),
    "Microsoft-Windows-PnpCustomizationsWinPE": ("windowsPE",),
    "Microsoft-Windows-PnpCustomizationsNonWinPE": ("offlineServicing", "auditSystem"),
    "Microsoft-Windows-Shell-Setup": _AFTER_PE,
    "Microsoft-Windows-Deployment": _AFTER_PE,
    "Microsoft-Windows-International-Core": _AFTER_PE,
    "Microsoft-Windows-UnattendedJoin": _AFTER_PE,
}
"""Where a component that Setup knows may stand. One in another pass is not read."""

_ONLY_IN = {
    "FirstLogonCommands": ("oobeSystem",),
    "OOBE": ("oobeSystem",),
    "UserAccounts": ("auditSystem", "oobeSystem"),
    "ComputerName": ("offlineServicing", "specialize"),
}
"""Settings of Microsoft-Windows-Shell-Setup."""

_ORDERED = {
    "RunSynchronous": "RunSynchronousCommand",
    "RunAsynchronous": "RunAsynchronousCommand",
    "FirstLogonCommands": "SynchronousCommand",
    "CreatePartitions": "CreatePartition",
    "ModifyPartitions": "ModifyPartition",
}
_LONGEST = {"RunSynchronousCommand": ("Path", 259), "RunAsynchronousCommand": ("Path", 259)}
_LONGEST |= {"SynchronousCommand": ("CommandLine", 1024)}
_SUFFIX = {"AdministratorPassword": "AdministratorPassword", "AutoLogon/Password": "Password"}
"""What Setup appends to a password before it is written as Base64 of UTF-16LE. It is no encryption."""


@dataclass(frozen=True)
class AnswerFile:
    """An answer file that Setup takes."""

    image: tuple[str, str] | None
    """How it chooses an edition: ("/IMAGE/INDEX", "2"), or None when a product key does."""

    computer_name: str
    """"" when it does not set one."""


def validate(data: bytes, name: str, *, firmware: str = "uefi") -> AnswerFile:
    """Raises BadAnswerFile with the first problem as `name:line: sentence`; `help` has the next ones."""
    root = parse(data, name)
    found = sorted(set(problems(root, firmware)))
    if found:
        first, *others = [f"{name}:{each.line}: {each.text}" for each in found]
        rest = f" Also: {'; '.join(others[:5])}." if others else ""
        raise BadAnswerFile(first, help=f"Correct the answer file and try again.{rest}")
    meta = [
        (each.one("Key"), each.one("Value"))
        for setup in _components(root, "windowsPE", "Microsoft-Windows-Setup")
        for each in setup.all("ImageInstall/OSImage/InstallFrom/MetaData")
    ]
    image = next(((key.text.upper(), value.text) for key, value in meta if key and value), None)
    names = [
        each.text
        for shell in _components(root, "specialize", "Microsoft-Windows-Shell-Setup")
        for each in shell.all("ComputerName")
    ]
    return AnswerFile(image, next((each for each in names if each != "*"), ""))


def problems(root: Element, firmware: str) -> Iterator[Problem]:
    """Whatever Setup would stop at, skip or ask about."""
    if (root.name, root.namespace) != ("unattend", NAMESPACE):
        yield Problem(root.line, f'the root must be <unattend xmlns="{NAMESPACE}">, not <{root.name}>')
        return
    structural = list(_structure(root))
    yield from structural
    if not structural:
        yield from _required(root, firmware)
        yield from _settings(root)


def _structure(root: Element) -> Iterator[Problem]:
    for child in root.children:
        if child.namespace == CPI or child.name == "servicing":
            continue
        if child.name != "settings" or child.namespace != NAMESPACE:
            yield Problem(child.line, f"<{child.name}> is no part of <unattend>; <settings> is")
            continue
        name = child.get("pass")
        if name not in PASSES:
            said = f"'{name}' is no configuration pass" if name else "<settings> lacks its pass"
            yield Problem(child.line, f"{said}; there are {', '.join(PASSES)}")
            continue
        seen: dict[tuple[str | None, str | None], int] = {}
        for component in child.children:
            if component.name != "component" or component.namespace != NAMESPACE:
                yield Problem(component.line, f"<{component.name}> is no part of <settings>; <component> is")
                continue
            key = (component.get("name"), component.get("processorArchitecture"))
            if key in seen:
                yield Problem(component.line, f"{key[0]} stands in {name} already, on line {seen[key]}")
            seen[key] = component.line
            yield from _component(component, name)


def _component(component: Element, name: str) -> Iterator[Problem]:
    line, title = component.line, component.get("name") or ""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", title):
        yield Problem(line, "<component> lacks its name")
    what = title or "<component>"
    if component.get("processorArchitecture") not in ARCHITECTURES:
        yield Problem(line, f"{what} lacks a processorArchitecture; for x64 it is amd64")
    expected = {"publicKeyToken": TOKEN, "language": "neutral", "versionScope": "nonSxS"}
    for key, value in expected.items():
        given = component.get(key)
        if given is None:
            yield Problem(line, f'{what} lacks {key}="{value}"')
        elif given != value and (key != "language" or not re.fullmatch(r"[A-Za-z-]+", given)):
            yield Problem(line, f'{what} has {key}="{given}" instead of "{value}"')
    if name not in _PASSES_OF.get(title, PASSES):
        where = " or ".join(_PASSES_OF[title])
        yield Problem(line, f"{title} has no settings in the pass {name}; it belongs in {where}")
    for element in component.walk():
        if element.namespace != NAMESPACE:
            yield Problem(element.line, f"<{element.name}> is not of the namespace {NAMESPACE}")
        action = element.get("action", WCM)
        if element.get("action") is not None:
            yield Problem(element.line, f"action of <{element.name}> must be wcm:action")
        elif action is not None and action not in ACTIONS:
            yield Problem(element.line, f"wcm:action of <{element.name}> is '{action}' instead of 'add'")


def _components(root: Element, pass_: str, name: str) -> Iterator[Element]:
    """Those that an amd64 Setup reads."""
    for settings in root.all("settings"):
        if settings.get("pass") == pass_:
            for component in settings.all("component"):
                if component.get("name") == name and component.get("processorArchitecture") == "amd64":
                    yield component


def _required(root: Element, firmware: str) -> Iterator[Problem]:
    setup = next(_components(root, "windowsPE", "Microsoft-Windows-Setup"), None)
    if setup is None:
        yield Problem(root.line, "has no Microsoft-Windows-Setup for amd64 in the pass windowsPE")
        return
    terms = setup.one("UserData/AcceptEula")
    if terms is None or terms.text.lower() != "true":
        line = setup.line if terms is None else terms.line
        yield Problem(line, "the licence terms are not accepted (UserData/AcceptEula must be true)")
    key = setup.one("UserData/ProductKey/Key")
    image = setup.one("ImageInstall/OSImage/InstallFrom/MetaData")
    if image is None and not (key and key.text):
        yield Problem(
            setup.line,
            "no edition is chosen (ImageInstall/OSImage/InstallFrom/MetaData, or a product key)",
        )
    if image is not None:
        yield from _image(image)
    yield from disk_problems(setup, firmware)
    language = next(_components(root, "windowsPE", "Microsoft-Windows-International-Core-WinPE"), None)
    if language is None or language.one("SetupUILanguage/UILanguage") is None:
        line = setup.line if language is None else language.line
        yield Problem(
            line,
            "no language of Setup is chosen "
            "(Microsoft-Windows-International-Core-WinPE: SetupUILanguage/UILanguage)",
        )
    shells = list(_components(root, "oobeSystem", "Microsoft-Windows-Shell-Setup"))
    password = [p for s in shells for p in s.all("UserAccounts/AdministratorPassword/Value") if p.text]
    if not password:
        yield Problem(
            shells[0].line if shells else root.line,
            "the administrator has no password "
            "(oobeSystem, Microsoft-Windows-Shell-Setup: UserAccounts/AdministratorPassword/Value)",
        )


def _image(meta: Element) -> Iterator[Problem]:
    key, value = meta.one("Key"), meta.one("Value")
    if key is None or key.text.upper() not in ("/IMAGE/INDEX", "/IMAGE/NAME", "/IMAGE/DESCRIPTION"):
        line = (key or meta).line
        yield Problem(line, "the edition's Key must be /IMAGE/INDEX, /IMAGE/NAME or /IMAGE/DESCRIPTION")
    elif value is None or not value.text:
        yield Problem(meta.line, "the edition has no Value")
    elif key.text.upper() == "/IMAGE/INDEX" and number(value) is None:
        yield Problem(value.line, f"the edition's number is '{value.text}', which is no number")


def _settings(root: Element) -> Iterator[Problem]:
    for settings in root.all("settings"):
        for component in settings.all("component"):
            if component.get("name") == "Microsoft-Windows-Shell-Setup":
                yield from _shell(component, settings.get("pass") or "")
            for element in component.walk():
                if element.name in _ORDERED:
                    yield from _ordered(element, _ORDERED[element.name])
                elif element.name == "ProductKey":
                    yield from _product_key(element)
            for path, suffix in _SUFFIX.items():
                for element in component.all(path if "/" in path else f"UserAccounts/{path}"):
                    yield from _password(element, suffix)


def _shell(component: Element, pass_: str) -> Iterator[Problem]:
    for name, passes in _ONLY_IN.items():
        for element in component.all(name):
            if pass_ not in passes:
                yield Problem(
                    element.line, f"{name} has no effect in the pass {pass_}; use {' or '.join(passes)}"
                )
    for element in component.all("ComputerName"):
        if element.text != "*" and not re.fullmatch(r"(?!\d+$)[A-Za-z0-9-]{1,15}", element.text):
            yield Problem(
                element.line, f"ComputerName '{element.text}' is not 1 to 15 letters, digits and hyphens"
            )


def _ordered(holder: Element, item: str) -> Iterator[Problem]:
    seen: dict[int, int] = {}
    for element in holder.children:
        if element.name != item:
            yield Problem(element.line, f"<{element.name}> is no part of <{holder.name}>; <{item}> is")
            continue
        if element.get("action", WCM) is None:
            yield Problem(element.line, f'<{item}> lacks wcm:action="add"')
        order = element.one("Order")
        place = number(order)
        if place is None or not 1 <= place <= 500:
            yield Problem((order or element).line, f"<{item}> lacks an Order from 1 to 500")
        elif place in seen:
            yield Problem(element.line, f"Order {place} of <{item}> is taken already, on line {seen[place]}")
        else:
            seen[place] = element.line
        name, longest = _LONGEST.get(item, ("", 0))
        command = element.one(name) if name else None
        if name and (command is None or not command.text):
            yield Problem(element.line, f"<{item}> lacks its {name}")
        elif command is not None and len(command.text) > longest:
            yield Problem(
                command.line, f"{name} of <{item}> has {len(command.text)} characters; {longest} are allowed"
            )


def _product_key(element: Element) -> Iterator[Problem]:
    key = element.one("Key")
    text = (key or element).text
    if text and not re.fullmatch(r"[A-Za-z0-9]{5}(-[A-Za-z0-9]{5}){4}", text):
        yield Problem((key or element).line, "the product key is not five groups of five characters")


def _password(element: Element, suffix: str) -> Iterator[Problem]:
    value, plain = element.one("Value"), element.one("PlainText")
    if value is None or (plain is not None and plain.text.lower() == "true"):
        return
    if plain is None:
        yield Problem(element.line, f"<{element.name}> lacks PlainText")
        return
    try:
        decoded = base64.b64decode("".join(value.text.split()), validate=True).decode("utf-16-le")
    except (binascii.Error, ValueError):
        decoded = ""
    if not decoded.endswith(suffix):
        yield Problem(
            value.line,
            f"the password is not in Setup's form: Base64 of UTF-16LE of the password and '{suffix}'",
        )
