"""Each way that the messages of a session can be protected, and a use of a share that shows that it works."""

from __future__ import annotations

import random

import pytest

from lab.smb.sealing import Cipher
from lab.smb.share import Share
from lab.smb.signing import SigningAlgorithm
from lab.smb.target import DIALECTS, Encryption, Security

CONTENT = random.Random(4).randbytes(200_000)
MARK = CONTENT[1000:1064]
GMAC, CMAC, HMAC = SigningAlgorithm.AES_GMAC, SigningAlgorithm.AES_CMAC, SigningAlgorithm.HMAC_SHA256


def algorithms(dialect: int) -> list[SigningAlgorithm]:
    if dialect == 0x0311:
        return [GMAC, CMAC, HMAC]
    return [CMAC] if dialect >= 0x0300 else [HMAC]


def ciphers(dialect: int) -> list[Cipher]:
    if dialect == 0x0311:
        return list(Cipher)
    return [Cipher.AES_128_CCM] if dialect >= 0x0300 else []


PROTECTIONS = [
    *(
        pytest.param(
            Security(dialects=(dialect,), signing_algorithms=(each,)), id=f"{dialect:#06x}-{each.name}"
        )
        for dialect in DIALECTS
        for each in algorithms(dialect)
    ),
    *(
        pytest.param(
            Security(dialects=(dialect,), encryption=Encryption.REQUIRED, ciphers=(each,)),
            id=f"{dialect:#06x}-{each.name}",
        )
        for dialect in DIALECTS
        for each in ciphers(dialect)
    ),
]


def use(share: Share, name: str) -> None:
    """Create, write, list, read back and remove a file."""
    with share.create(name) as file:
        file.write_at(0, CONTENT)
    assert name in [each.name for each in share.list()]
    with share.open(name) as file:
        assert file.length == len(CONTENT)
        assert file.read_at(0, len(CONTENT)) == CONTENT
        assert file.read_at(1000, 64) == MARK
    share.remove(name)
