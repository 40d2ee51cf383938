"""What is in the lab: `inventory/*.yaml` to checked hosts, secrets only by reference.

`load(paths)` gives an `Inventory`; `Inventory.host(name, for_use=True)` gives a host that may be crashed,
or refuses. Machines and windows build on the settings found here; this package imports only `lab.model`.
"""

from lab.inventory.host import (
    GuestSettings,
    Host,
    PsrpShell,
    ShellSettings,
    SmbSettings,
    SshShell,
    Timeouts,
)
from lab.inventory.install import InstallSettings
from lab.inventory.load import Inventory, json_schema, load
from lab.inventory.machine import (
    FixedMachine,
    IpmiMachine,
    MachineSettings,
    RedfishMachine,
    VcenterController,
    VsphereMachine,
)
from lab.inventory.pool import (
    Acceptance,
    CloneNetwork,
    Customization,
    JoinDomain,
    Pool,
    VsphereTemplate,
)
from lab.inventory.secrets import Secret, register_secret_source
from lab.inventory.write import host_file

__all__ = [
    "Acceptance",
    "CloneNetwork",
    "Customization",
    "FixedMachine",
    "GuestSettings",
    "Host",
    "InstallSettings",
    "Inventory",
    "IpmiMachine",
    "JoinDomain",
    "MachineSettings",
    "Pool",
    "PsrpShell",
    "RedfishMachine",
    "Secret",
    "ShellSettings",
    "SmbSettings",
    "SshShell",
    "Timeouts",
    "VcenterController",
    "VsphereMachine",
    "VsphereTemplate",
    "host_file",
    "json_schema",
    "load",
    "register_secret_source",
]
