"""How a connection's messages go, in words."""

from __future__ import annotations

from lab.smb.negotiate import dialect_name
from lab.smb.share import Share
from lab.smb.signing import SigningAlgorithm

_SIGNING = {
    SigningAlgorithm.HMAC_SHA256: "HMAC-SHA256",
    SigningAlgorithm.AES_CMAC: "AES-128-CMAC",
    SigningAlgorithm.AES_GMAC: "AES-128-GMAC",
}


def transport(share: Share) -> str:
    """ "SMB 3.1.1, signed with AES-128-GMAC" and the like."""
    agreed, session = share.connection.agreed, share.session
    if agreed is None:
        return ""
    how = "unsigned"
    if session.sealer is not None and agreed.cipher is not None:
        how = f"encrypted with {agreed.cipher.name.replace('_', '-')}"
    elif session.signer is not None:
        how = f"signed with {_SIGNING[agreed.signing]}"
    return f"SMB {dialect_name(agreed.dialect)}, {how}"
