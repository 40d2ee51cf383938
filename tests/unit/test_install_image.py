"""Windows ISOs are read, and given more files; 7-Zip and udfinfo look at what came out."""

from __future__ import annotations

import filecmp
import hashlib
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from install_samples import DATACENTER, STANDARD, Sample, boot_files, make_iso, missing, run, sample, wim

from lab.machines.install import BadImage, inspect
from lab.machines.install.graft import Content, Graft
from lab.machines.install.image import Image
from lab.machines.install.iso import boot_entries, compose
from lab.machines.install.udf import SECTOR, Udf, seal
from lab.model import ConfigurationError, InfrastructureError, LabError

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample(tmp_path_factory.mktemp("windows"))


def written(image: Image, target: Path) -> Path:
    with image:
        image.write(target)
    return target


def test_what_an_iso_says_of_itself(windows: Sample) -> None:
    iso = inspect(windows.iso)
    assert [(e.index, e.name, e.architecture, e.build) for e in iso.editions] == [
        (1, STANDARD, "amd64", 17763),
        (2, DATACENTER, "amd64", 17763),
    ]
    assert iso.boots_uefi and iso.boots_bios
    assert iso.check(DATACENTER.lower(), "uefi").index == 2
    assert iso.check(1, "bios").name == STANDARD


def test_every_file_is_found_and_read(windows: Sample) -> None:
    with Udf(windows.iso) as udf:
        for path in windows.tree.rglob("*"):
            node = udf.find(path.relative_to(windows.tree).as_posix().upper())
            assert node is not None and node.folder == path.is_dir()
            if path.is_file():
                assert udf.data(node, most=1 << 30) == path.read_bytes()
        assert udf.find("sources/nothing") is None
        assert udf.find("sources/install.wim/x") is None


def test_files_are_added_and_nothing_else_changes(windows: Sample, tmp_path: Path) -> None:
    before = hashlib.sha256(windows.iso.read_bytes()).digest()
    files: dict[str, Content] = {
        "autounattend.xml": b"<unattend/>" * 1000,
        "$WinPEDriver$/net/Größe 大.inf": b"[Version]",
        "$WinPEDriver$/net/a.sys": windows.tree / "sources" / "boot.wim",
        "lab/empty": b"",
        **{f"many/file-{number:04}.txt": b"%d" % number for number in range(300)},
    }
    target = written(compose(windows.iso, files, "uefi"), tmp_path / "out.iso")
    assert hashlib.sha256(windows.iso.read_bytes()).digest() == before
    run("7z", "t", target)
    run("7z", "x", "-y", f"-o{tmp_path / 'x'}", target)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        assert (tmp_path / "x" / name).read_bytes() == data, name
    for path in windows.tree.rglob("*"):
        if path.is_file():
            assert filecmp.cmp(path, tmp_path / "x" / path.relative_to(windows.tree), shallow=False)


def test_another_reader_agrees_on_the_volume(windows: Sample, tmp_path: Path) -> None:
    target = written(compose(windows.iso, {"a/b": b"c"}, "uefi"), tmp_path / "out.iso")
    told = dict(line.split("=", 1) for line in run("udfinfo", target).splitlines() if "start" not in line)
    blocks = target.stat().st_size // SECTOR
    assert (told["integrity"], told["blocks"], told["behindblocks"]) == ("closed", str(blocks), "0")
    lines = run("udfinfo", target).splitlines()
    assert f"start={blocks - 1}, blocks=1, type=ANCHOR" in lines
    assert any(line.endswith("type=PSPACE") and f"blocks={blocks - 258}" in line for line in lines)


def test_descriptors_know_where_they_are(windows: Sample, tmp_path: Path) -> None:
    """What 7-Zip does not ask for and Windows may: ECMA-167 3/7.2.8, and sizes that agree with each other."""
    files: dict[str, Content] = {f"many/file-{number:04}.txt": b"" for number in range(200)}
    whole = written(compose(windows.iso, files, "uefi"), tmp_path / "out.iso").read_bytes()
    with Udf(tmp_path / "out.iso") as udf:
        many = udf.find("many")
        assert many is not None and many.length > 3 * SECTOR
        for folder in (udf.root, many):
            for name in udf.names(folder):
                place = folder.extents[0].offset + name.start
                (location,) = struct.unpack_from("<I", whole, place + 12)
                assert location == place // SECTOR - udf.partition_start
        (size,) = struct.unpack_from("<I", whole, udf.integrity.offset + 84)
        assert size == udf.partition_length == len(whole) // SECTOR - 1 - udf.partition_start


def test_a_file_that_is_there_already_is_replaced(windows: Sample, tmp_path: Path) -> None:
    shutil.copytree(windows.tree, tmp_path / "tree")
    (tmp_path / "tree" / "AutoUnattend.XML").write_text("somebody's own")
    iso = make_iso(tmp_path / "tree", tmp_path / "own.iso")
    target = written(compose(iso, {"autounattend.xml": b"ours"}, "uefi"), tmp_path / "out.iso")
    listing = [line for line in run("7z", "l", "-ba", target).splitlines() if "unattend" in line.lower()]
    assert len(listing) == 1
    assert run("7z", "e", "-so", target, "autounattend.xml") == "ours"


def test_grafting_twice_keeps_both(windows: Sample, tmp_path: Path) -> None:
    once = written(compose(windows.iso, {"one": b"1"}, "uefi"), tmp_path / "1.iso")
    twice = written(compose(once, {"two": b"2"}, "uefi"), tmp_path / "2.iso")
    assert run("7z", "e", "-so", twice, "one") + run("7z", "e", "-so", twice, "two") == "12"


def test_uefi_starts_what_asks_for_no_key(windows: Sample, tmp_path: Path) -> None:
    for firmware, expected in (("uefi", b"no key "), ("bios", b"press any key ")):
        target = written(compose(windows.iso, {"a": b""}, firmware), tmp_path / f"{firmware}.iso")
        with Udf(target) as udf:
            (efi,) = [e for e in boot_entries(udf) if e.platform == 0xEF]
            assert udf.read(efi.sector * SECTOR, len(expected)) == expected


def test_the_bios_asks_for_no_key(windows: Sample, tmp_path: Path) -> None:
    target = written(compose(windows.iso, {"a": b""}, "bios"), tmp_path / "out.iso")
    run("7z", "t", target)
    names = {line.split()[-1] for line in run("7z", "l", "-ba", target).splitlines()}
    assert "boot/bootfix.off" in names and "boot/bootfix.bin" not in names


def test_folders_whose_names_lie_in_their_entry(windows: Sample, tmp_path: Path) -> None:
    """genisoimage writes none, and the format allows them: made from its image by hand."""
    image = bytearray(windows.iso.read_bytes())
    with Udf(windows.iso) as udf:
        for folder in (udf.root, udf.find("boot")):
            assert folder is not None
            names = udf.data(folder)
            entry = udf.descriptor(folder.entry, 261)
            entry[34] |= 3
            struct.pack_into("<I", entry, 172, len(names))
            struct.pack_into("<H", entry, 10, 160 + len(names))
            entry[176:] = names.ljust(SECTOR - 176, b"\0")
            seal(entry, struct.unpack_from("<I", entry, 12)[0])
            image[folder.entry : folder.entry + SECTOR] = entry
    (tmp_path / "embedded.iso").write_bytes(image)
    target = written(compose(tmp_path / "embedded.iso", {"a": b"1"}, "bios"), tmp_path / "out.iso")
    run("7z", "t", target)
    names_seen = {line.split()[-1] for line in run("7z", "l", "-ba", target).splitlines()}
    assert {"a", "boot/bootfix.off", "boot/etfsboot.com", "sources/install.wim"} <= names_seen


def test_an_iso_that_asks_and_cannot_be_silent(windows: Sample, tmp_path: Path) -> None:
    shutil.copytree(windows.tree, tmp_path / "tree")
    (tmp_path / "tree/efi/microsoft/boot/efisys_noprompt.bin").unlink()
    iso = make_iso(tmp_path / "tree", tmp_path / "asks.iso")
    with pytest.raises(BadImage, match=r"waits for a key when UEFI starts it"):
        compose(iso, {"a": b""}, "uefi")


def test_reads_of_any_place_and_size_agree_with_the_file(windows: Sample, tmp_path: Path) -> None:
    files: dict[str, Content] = {"a.xml": b"x" * 5000, "b": windows.tree / "boot" / "etfsboot.com"}
    whole = written(compose(windows.iso, files, "uefi"), tmp_path / "out.iso").read_bytes()
    with compose(windows.iso, files, "uefi") as image:
        assert image.size == len(whole)

        @given(st.integers(0, len(whole) + 5000), st.integers(0, 300_000))
        @hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
        def same(offset: int, size: int) -> None:
            assert image.read(offset, size) == whole[offset : offset + size]

        same()
        for around in range(len(whole) - 60 * SECTOR, len(whole), 1000):
            assert image.read(around, 3000) == whole[around : around + 3000]


def test_a_driver_that_goes_away_while_it_is_read(windows: Sample, tmp_path: Path) -> None:
    driver = tmp_path / "a.sys"
    driver.write_bytes(b"x" * 100_000)
    with compose(windows.iso, {"a.sys": driver}, "uefi") as image:
        driver.write_bytes(b"x")
        with pytest.raises(InfrastructureError, match=r"a\.sys became shorter"):
            list(image.chunks(0, image.size))


def test_too_little_space_for_a_copy(
    windows: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with (
        compose(windows.iso, {"a": b""}, "uefi") as image,
        pytest.raises(ConfigurationError, match="GB free, and the image has"),
    ):
        image.write(tmp_path / "out.iso")
    assert list(tmp_path.iterdir()) == []


def test_names_that_do_not_fit(windows: Sample) -> None:
    for name in ("x" * 121, "a//b", ""):
        with Udf(windows.iso) as udf, pytest.raises(ConfigurationError, match="name"):
            Graft(udf).add({name: b""})
    with Udf(windows.iso) as udf, pytest.raises(ConfigurationError, match="both a file and a folder"):
        Graft(udf).add({"a": b"", "a/b": b""})


class TestNotAWindowsIso:
    def test_no_install_image(self, tmp_path: Path) -> None:
        boot_files(tmp_path / "tree")
        with pytest.raises(BadImage, match=r"has no install image \(sources/install\.wim or"):
            inspect(make_iso(tmp_path / "tree", tmp_path / "x.iso"))

    def test_no_udf(self, windows: Sample, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="has no UDF file system") as caught:
            inspect(make_iso(windows.tree, tmp_path / "x.iso", udf=False))
        assert "as Microsoft gives it" in caught.value.help

    def test_does_not_boot(self, windows: Sample, tmp_path: Path) -> None:
        iso = inspect(make_iso(windows.tree, tmp_path / "x.iso", boot=False))
        for firmware in ("uefi", "bios"):
            with pytest.raises(BadImage, match=f"does not boot with {firmware} firmware"):
                iso.check(1, firmware)

    def test_another_architecture(self, tmp_path: Path) -> None:
        boot_files(tmp_path / "a" / "tree")
        wim(tmp_path / "a" / "tree" / "sources" / "install.wim", ("Windows 10 Pro",), 12)
        iso = inspect(make_iso(tmp_path / "a" / "tree", tmp_path / "x.iso"))
        with pytest.raises(ConfigurationError, match=r"'Windows 10 Pro' of .* is for arm64, not for amd64"):
            iso.check(1, "uefi")

    def test_an_edition_that_is_not_there(self, windows: Sample) -> None:
        with pytest.raises(ConfigurationError, match="has no edition 'ServerFoundation'") as caught:
            inspect(windows.iso).check("ServerFoundation", "uefi")
        assert caught.value.help == f"Its editions are: 1: {STANDARD}; 2: {DATACENTER}."

    def test_an_esd_is_an_install_image_too(self, windows: Sample, tmp_path: Path) -> None:
        shutil.copytree(windows.tree, tmp_path / "tree")
        sources = tmp_path / "tree" / "sources"
        run("wimlib-imagex", "export", sources / "install.wim", "all", sources / "install.esd", "--solid")
        (sources / "install.wim").unlink()
        assert len(inspect(make_iso(tmp_path / "tree", tmp_path / "x.iso")).editions) == 2

    def test_an_install_image_of_something_else(self, windows: Sample, tmp_path: Path) -> None:
        shutil.copytree(windows.tree, tmp_path / "tree")
        for content, sentence in ((b"x" * 3000, "is not a WIM file"), (b"", "is too short")):
            (tmp_path / "tree" / "sources" / "install.wim").write_bytes(content)
            with pytest.raises(BadImage, match=sentence):
                inspect(make_iso(tmp_path / "tree", tmp_path / "x.iso"))

    def test_not_there_and_cut_off(self, windows: Sample, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="cannot be read: No such file"):
            inspect(tmp_path / "none.iso")
        cut = tmp_path / "cut.iso"
        cut.write_bytes(windows.iso.read_bytes()[: 1 << 20])
        with pytest.raises(BadImage, match="the copy is not whole"):
            inspect(cut)


def test_damaged_images_end_in_an_error_of_ours(windows: Sample, tmp_path: Path) -> None:
    """Any four bytes of the file system may be anything; checksums are not in the way, as they are redone."""
    original = windows.iso.read_bytes()
    damaged = tmp_path / "damaged.iso"
    damaged.write_bytes(original)
    with Udf(windows.iso) as udf:
        end = udf.find("sources/install.wim").extents[0].offset + 208  # type: ignore[union-attr]
        places = [
            udf.root.entry,
            *(n.entry for n in udf.names(udf.root)),
            256 * SECTOR,
            udf.partition_start * SECTOR,
        ]
        places += [
            udf.root.extents[0].offset,
            17 * SECTOR,
            32 * SECTOR,
            33 * SECTOR,
            34 * SECTOR,
            35 * SECTOR,
        ]
    places.append(end - 208)

    @given(
        st.sampled_from(places),
        st.integers(0, 250),
        st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x40000000, 0xC0000800]) | st.integers(0, 0xFFFFFFFF),
    )
    @hypothesis_settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    def survives(place: int, at: int, value: int) -> None:
        sector = bytearray(original[place : place + SECTOR])
        struct.pack_into("<I", sector, at, value)
        sector[4] = 0
        sector[4] = sum(sector[:16]) & 0xFF
        with damaged.open("r+b") as file:
            file.seek(place)
            file.write(sector)
        try:
            inspect(damaged)
            compose(damaged, {"a/b": b"c"}, "bios").close()
        except LabError:
            pass
        finally:
            with damaged.open("r+b") as file:
                file.seek(place)
                file.write(original[place : place + SECTOR])

    survives()
