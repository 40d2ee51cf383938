"""Hosts by number: planned, made side by side, accepted, handed out, and handed back clean.

A host that was handed out is an inventory file of its own in the data folder. Everything that is made is
written to the journal as intended first, so that nothing is left that the journal does not know.
"""

from lab.provision.accept import Examined, NotAccepted, differences, examine
from lab.provision.act import Made, Shop, StoppingClock, make_one, provision
from lab.provision.choose import pool_for
from lab.provision.hand_back import Desk, Reaped, hand_back, reap
from lab.provision.maker import Candidate, Lab, Maker, Stock
from lab.provision.makers import maker_for
from lab.provision.plan import Plan, Planned, make_plan
from lab.provision.store import HostFiles, folder_in

__all__ = [
    "Candidate",
    "Desk",
    "Examined",
    "HostFiles",
    "Lab",
    "Made",
    "Maker",
    "NotAccepted",
    "Plan",
    "Planned",
    "Reaped",
    "Shop",
    "Stock",
    "StoppingClock",
    "differences",
    "examine",
    "folder_in",
    "hand_back",
    "make_one",
    "make_plan",
    "maker_for",
    "pool_for",
    "provision",
    "reap",
]
