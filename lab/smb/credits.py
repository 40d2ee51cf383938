"""Message ids, and how many requests the server allows to be in flight (MS-SMB2 3.2.4.1.2, 3.2.5.1.4)."""

from __future__ import annotations

MOST = 65_535
"""More than any server grants: Windows stops at 8192 by default. What is granted beyond is not used."""


class Credits:
    """The ledger of one connection. A request takes credits; each answer, interim ones too, grants some.

    A request of `charge` credits takes as many consecutive message ids (3.2.4.1.5).
    """

    def __init__(self) -> None:
        self.balance = 1  # for the NEGOTIATE
        self.next_id = 0

    def take(self, charge: int = 1) -> int:
        """The first message id. RuntimeError when the balance does not allow it: a defect of the caller."""
        if self.balance < charge:
            raise RuntimeError(f"{charge} credits taken of {self.balance}")
        self.balance -= charge
        first = self.next_id
        self.next_id += charge
        return first

    def grant(self, credits: int) -> None:
        self.balance = min(self.balance + credits, MOST)
