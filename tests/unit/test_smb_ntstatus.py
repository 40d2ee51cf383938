"""The names of NTSTATUS values, held against two other clients' tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from smbprotocol.header import NtStatus

from lab.smb import ntstatus
from lab.smb.ntstatus import status_name, status_names

LATER_THAN_THEIRS = {
    0xC05D0000: "STATUS_SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP",
    0xC05D0001: "STATUS_SMB_BAD_CLUSTER_DIALECT",
}
"""MS-SMB2 3.3.5.4 and 3.3.5.7 answer with these; neither of the tables has them."""

OTHERS = {value: name for name, value in vars(NtStatus).items() if name.startswith("STATUS_")}


def test_every_name_of_smbprotocol_is_known_and_the_same() -> None:
    assert len(OTHERS) > 50
    assert {value: status_name(value) for value in OTHERS} == OTHERS


def test_every_name_is_one_that_impacket_has_for_that_value() -> None:
    errors = pytest.importorskip("impacket.nt_errors")
    # Its dictionary keeps the last of several names of a value: the source has them all.
    source = Path(errors.__file__).read_text("utf-8")
    ours = {value: name for value, name in status_names().items() if value not in OTHERS | LATER_THAN_THEIRS}
    assert len(ours) > 250
    assert [name for value, name in ours.items() if f'0x{value:08X}: ("{name}"' not in source] == []


def test_what_only_we_have() -> None:
    assert {value: status_name(value) for value in LATER_THAN_THEIRS} == LATER_THAN_THEIRS


def test_constants_bear_their_own_names() -> None:
    constants = {name: value for name, value in vars(ntstatus).items() if name.startswith("STATUS_")}
    assert len(constants) > 30
    assert {name: status_name(value) for name, value in constants.items()} == {
        name: name for name in constants
    }


def test_a_value_without_a_name_is_shown_in_hexadecimal() -> None:
    assert status_name(0xC0FFEE) == "0x00C0FFEE"


def test_the_table_is_in_order_and_has_no_value_twice() -> None:
    values = list(status_names())
    assert values == sorted(set(values)) and len(values) == ntstatus._TABLE.count(",") + 1
