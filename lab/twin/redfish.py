"""The management controller: sushy-tools' Redfish emulator over the machine's power.

It has power of its own, so it answers while the guest is down.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import ssl
import threading
from pathlib import Path
from typing import Any

import bcrypt
from sushy_tools import error
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver
from werkzeug.serving import make_server

from lab.twin.certificate import make_certificate
from lab.twin.machine import Down, Machine

_CHEAP = 4  # bcrypt's least cost: each request is checked


class MachineDriver(AbstractSystemsDriver):
    """The one system there is, known by its UUID."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._boot_device = "Hdd"

    @property
    def driver(self) -> str:
        return "<twin>"

    @property
    def systems(self) -> list[str]:
        return [self._machine.uuid]

    def uuid(self, identity: str) -> str:
        if str(identity).casefold() not in (self._machine.uuid.casefold(), self._machine.computer.casefold()):
            raise error.NotFound(f"System {identity} was not found")
        return self._machine.uuid

    def name(self, identity: str) -> str:
        self.uuid(identity)
        return self._machine.computer

    def get_power_state(self, identity: str) -> str:
        self.uuid(identity)
        return "On" if self._machine.powered else "Off"

    def set_power_state(self, identity: str, state: str) -> None:
        self.uuid(identity)
        machine = self._machine
        actions = {
            "On": machine.power_on,
            "ForceOn": machine.power_on,
            "ForceOff": machine.power_off,
            "ForceRestart": machine.reset,
            "GracefulShutdown": lambda: machine.shut_down("power button"),
            "GracefulRestart": lambda: machine.restart("management controller"),
            "Nmi": machine.nmi,
        }
        if state not in actions:
            raise error.BadRequest(f"ResetType {state} is not supported")
        if state in ("ForceRestart", "Nmi") and not machine.powered:
            raise error.Conflict(f"The system is off; {state} is not possible")
        # A guest that is down cannot be asked, as a real controller finds out by waiting in vain.
        with contextlib.suppress(Down):
            actions[state]()

    def get_boot_device(self, identity: str) -> str:
        self.uuid(identity)
        return self._boot_device

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        self.uuid(identity)
        self._boot_device = boot_source

    def get_boot_mode(self, identity: str) -> str:
        self.uuid(identity)
        return "UEFI"

    def get_total_memory(self, identity: str) -> int:
        return 4

    def get_total_cpus(self, identity: str) -> int:
        return 2


class RedfishServer:
    """HTTPS with Basic authentication, from `start` to `stop`. `folder` holds its certificate and state."""

    def __init__(
        self, host: str, port: int, machine: Machine, folder: Path, user: str, password: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = folder / "redfish-ca.pem"
        key, accounts = folder / "redfish-key.pem", folder / "redfish-accounts"
        make_certificate(host, self.ca_file, key)
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_CHEAP)).decode()
        with os.fdopen(os.open(accounts, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{user}:{hashed}\n")
        application = _application(
            MachineDriver(machine),
            {
                "SUSHY_EMULATOR_AUTH_FILE": str(accounts),
                "SUSHY_EMULATOR_STATE_DIR": str(folder),
                "SUSHY_EMULATOR_IGNORE_BOOT_DEVICE": True,
            },
        )
        self._server = make_server(host, port, application, threaded=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key)
        # The handshake is left to the thread of the request: a client that never begins it must not keep
        # others from being accepted.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._server.ssl_context = context
        self.url = f"https://{host}:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="redfish", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _application(driver: MachineDriver, config: dict[str, Any]) -> Any:
    """sushy-tools keeps its application in a module; each twin gets a module of its own."""
    spec = importlib.util.find_spec("sushy_tools.emulator.main")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Application.systems = property(lambda application: driver)
    module.app.configure(extra_config=config)
    module.app.logger.setLevel(logging.CRITICAL)
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    return module.app
