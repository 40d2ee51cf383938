"""Two management controllers that speak IPMI, each as a process of its own, on 127.0.0.1.

`Sim` is OpenIPMI's ipmi_sim: power, serial console, cipher suite 3; it refuses an NMI, and keeps a boot
device without marking it valid. `Bmc` is built on pyghmi's own server: NMI and boot device, cipher suite 3,
no serial console.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.machines.ipmi import IpmiMachine

USER = "lab"
PASSWORD = "Secret-123!"
ADDRESS = "192.0.2.2"

_LAN = """
name "lab"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
    lan_config_program "/bin/true"
  endlan
  chassis_control "{folder}/chassis 0x20"
  sol "tcp:127.0.0.1:{serial}" 115200 history=4000 historyfru=10
  user 2 true "{user}" "{password}" admin 10
"""
_EMULATION = """
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
_CHASSIS = """#!/bin/sh
cd "{folder}"
shift
operation=$1
shift
while [ -n "$1" ]; do
    case $operation,$1 in
    get,power) echo "power:$(cat power)" ;;
    get,boot) echo "boot:$(cat boot)" ;;
    set,power)
        [ "$(cat power)$2" = 01 ] && echo boot >>boots
        echo "$2" >power
        shift ;;
    set,reset) echo boot >>boots; shift ;;
    set,boot) echo "$2" >boot; shift ;;
    check,power | check,reset | check,boot) ;;
    *) exit 1 ;;
    esac
    shift
done
"""
_BMC = """
import json, sys
from pyghmi.ipmi import bmc
port, user, password, state = json.loads(sys.stdin.readline())

class Bmc(bmc.Bmc):
    power, device, boots, nmis = "off", "default", 0, 0
    def tell(self):
        open(state + ".new", "w").write(json.dumps([self.power, self.device, self.boots, self.nmis]))
        import os; os.replace(state + ".new", state)
    def get_power_state(self): return self.power
    def power_off(self): self.power = "off"; self.tell()
    def power_on(self):
        self.boots += self.power == "off"; self.power = "on"; self.tell()
    def power_reset(self):
        if self.power == "off": return 0xD5
        self.boots += 1; self.tell()
    def pulse_diag(self): self.nmis += 1; self.tell()
    def get_boot_device(self): return self.device
    def set_boot_device(self, device): self.device = device; self.tell()
    def cold_reset(self): return 0

it = Bmc({user: password}, port=port, address="127.0.0.1")
it.tell()
it.listen()
"""


def missing() -> str:
    return "" if shutil.which("ipmi_sim") else "no ipmi_sim: run tests/servers/install.sh (openipmi)"


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class _Controller:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[Any] | None = None

    def machine(self, **changed: Any) -> IpmiMachine:
        settings: dict[str, Any] = {
            "controller": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
            "cipher": 3,
            "address": ADDRESS,
            "connect_seconds": 20,
        } | changed
        return IpmiMachine(settings.pop("controller"), **settings)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _wait(self) -> None:
        """Until it answers at all."""
        ping = bytes.fromhex("0600ff06000011be80000000")  # RMCP presence ping, or at least no ICMP refusal
        deadline = time.monotonic() + 30
        capabilities = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.2)
            asker.connect(("127.0.0.1", self.port))
            while time.monotonic() < deadline:
                with suppress(OSError):
                    asker.send(ping)
                    asker.send(capabilities)
                    asker.recv(1000)
                    return
                assert self._process is not None and self._process.poll() is None, "it did not start"
                time.sleep(0.05)
        raise AssertionError("the controller does not answer")


class Sim(_Controller):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.serial = Echo()
        (folder / "lan.conf").write_text(
            _LAN.format(port=self.port, folder=folder, serial=self.serial.port, user=USER, password=PASSWORD)
        )
        (folder / "emulation").write_text(_EMULATION)
        chassis = folder / "chassis"
        chassis.write_text(_CHASSIS.replace("{folder}", str(folder)))
        chassis.chmod(0o755)
        (folder / "power").write_text("0\n")
        (folder / "boot").write_text("default\n")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["ipmi_sim", "-c", "lan.conf", "-f", "emulation", "-s", "state", "-n", "-p"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def powered(self) -> bool:
        return (self.folder / "power").read_text().strip() == "1"

    def boots(self) -> int:
        boots = self.folder / "boots"
        return len(boots.read_text().splitlines()) if boots.exists() else 0


class Bmc(_Controller):
    def start(self) -> None:
        (self.folder / "bmc.py").write_text(_BMC)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(self.folder / "bmc.py")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        assert self._process.stdin is not None
        settings = [self.port, USER, PASSWORD, str(self.folder / "state")]
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")
        self._process.stdin.flush()
        self._wait()

    def _state(self, at: int) -> Any:
        return json.loads((self.folder / "state").read_text())[at]

    def powered(self) -> bool:
        return bool(self._state(0) == "on")

    def boot_device(self) -> str:
        return str(self._state(1))

    def boots(self) -> int:
        return int(self._state(2))

    def nmis(self) -> int:
        return int(self._state(3))


class Echo:
    """What hangs on the serial port: it answers with what it gets."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while data := connection.recv(4096):
                connection.sendall(data)

    def close(self) -> None:
        self._server.close()
