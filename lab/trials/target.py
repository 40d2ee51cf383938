"""Where a host of the inventory is loaded and read, and how much of it a load may take."""

from __future__ import annotations

from dataclasses import replace

from lab.inventory import Host, SmbSettings
from lab.model import LoadPlan, Refused
from lab.smb.profiles import find_profile
from lab.smb.target import Authentication, Encryption, Security, Signing, SmbTarget

_DIALECTS = {"2.0.2": 0x0202, "2.1": 0x0210, "3.0": 0x0300, "3.0.2": 0x0302, "3.1.1": 0x0311}


def target_of(host: Host) -> SmbTarget:
    """Where a host's shares are, and what its SMB connections offer and insist on.

    Raises ConfigurationError when the password is missing, before any use.
    """
    host.smb_password.reveal()
    return SmbTarget(
        host=host.address,
        port=host.smb.port,
        user=host.smb_user,
        password=host.smb_password,
        data_share=host.smb.data_share,
        admin_share=host.smb.admin_share,
        security=security_of(host.smb),
    )


def security_of(smb: SmbSettings) -> Security:
    """A host's SMB settings as the wire has them."""
    return Security(
        dialects=tuple(sorted(_DIALECTS[each] for each in set(smb.dialects))),
        signing=Signing(smb.signing.replace("-", " ")),
        encryption=Encryption(smb.encryption.replace("-", " ")),
        authentication=Authentication(smb.authentication),
    )


def within_caps(host: Host, plan: LoadPlan) -> LoadPlan:
    """The plan as this host's caps allow it: the rate is lowered to its cap, and so are the READs in flight
    where the plan leaves them to its profile.

    Raises Refused when the plan itself asks for more connections, READs in flight or seconds than the
    caps, and ConfigurationError for an unknown profile.
    """
    profile = find_profile(plan.profile)
    smb = host.smb
    asked = (
        ("connections", plan.connections, smb.most_connections, "most_connections"),
        ("READs in flight", plan.in_flight or 0, smb.most_in_flight, "most_in_flight"),
        ("seconds", plan.seconds, smb.most_seconds, "most_seconds"),
    )
    for what, wanted, most, key in asked:
        if wanted > most:
            raise Refused(
                f"a load of {wanted:g} {what} is more than {host.name} may get: smb.{key} is {most:g}",
                help=f"Ask for less, or raise smb.{key} of this host in the inventory.",
            )
    if plan.in_flight is None and profile.most > smb.most_in_flight:
        plan = replace(plan, in_flight=smb.most_in_flight)
    cap = smb.most_reads_per_second
    return plan if cap is None else replace(plan, rate=min(cap, plan.rate or cap))
