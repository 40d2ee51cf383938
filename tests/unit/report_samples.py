"""Cases made by hand, as the lab would have them at its end; times and addresses are invented."""

from __future__ import annotations

from dataclasses import replace

from lab.model import (
    Bugcheck,
    Case,
    ClassFilter,
    Crashed,
    CriticalRegionEntry,
    DispatchState,
    Driver,
    DumpFacts,
    Entry,
    EntryKind,
    Evidence,
    FilterInstance,
    Frame,
    Invalid,
    InvalidReason,
    IrpLogEntry,
    LoadPlan,
    LoadReport,
    Module,
    Origin,
    Outcome,
    ProcessorFacts,
    Reading,
    Recipe,
    Relation,
    Signature,
    StartType,
    Strength,
    Survived,
    Suspect,
    ThreadFacts,
    Triage,
    Trial,
    UnloadedDriver,
    Verdict,
    VerdictKind,
    VerifiedDriver,
    VerifierFacts,
    VerifierPlan,
    WantedSymbols,
)

DISK = "{4d36e967-e325-11ce-bfc1-08002be10318}"
THREAD = 0xFFFFFA804B5BE040
EXIT = Signature(
    0x20,
    0,
    "srv2!SrvProcWorkerThread",
    ("nt!PspExitThread", "nt!PsTerminateSystemThread", "srv2!SrvProcTerminateWorkerThreadInternal"),
)
DISPATCH = Signature(
    0xC4,
    0xC5,
    "srv2!SrvProcWorkerThread",
    ("nt!VfAfterCallDriver", "nt!IovCallDriver", "srv2!Smb2ExecuteRead"),
)


def driver(
    service: str, company: str, version: str, *, altitude: str = "", group: str = "", pinned: str = ""
) -> Driver:
    return Driver(
        service=service,
        image=f"{service}.sys",
        image_path=rf"\SystemRoot\System32\drivers\{service}.sys",
        start=StartType.BOOT if altitude else StartType.SYSTEM,
        running=True,
        display_name=f"{company} {service}",
        group=group,
        company=company,
        signer=company,
        version=version,
        altitudes=(altitude,) if altitude else (),
        origin=Origin.THIRD_PARTY,
        origin_because=f"company name is {company!r}, not Microsoft",
        pinned=pinned,
    )


def in_box(service: str, image: str = "", altitude: str = "") -> Driver:
    return Driver(
        service=service,
        image=image or f"{service}.sys",
        image_path=rf"\SystemRoot\System32\drivers\{image or service + '.sys'}",
        start=StartType.BOOT,
        running=True,
        company="Microsoft Corporation",
        version="6.1.7601.17514",
        altitudes=(altitude,) if altitude else (),
        origin=Origin.IN_BOX,
        origin_because="signed by Microsoft Windows and part of the system image",
    )


BAD = driver("BadDriver", "Northwind Archive", "4.2.1.88", altitude="189600", group="FSFilter HSM")
NOISY = driver("Suspect", "Contoso Endpoint", "11.0.3.2", altitude="328010", group="FSFilter Anti-Virus")
CALLBACK = driver("GuardHook", "Fabrikam Security", "2.7.0.1140")
STORAGE = driver("hvstor", "Litware Storage", "10.4.0.9", pinned="the system disk hangs on it")
SHADOW = replace(
    driver("TailDisk", "Tailspin Backup", "7.1.12.0"),
    class_filters=(ClassFilter(DISK, "DiskDrive", "upper", 1),),
)
THIRD_PARTY = (
    BAD,
    NOISY,
    CALLBACK,
    STORAGE,
    SHADOW,
    driver("WoodVault", "Woodgrove Backup", "3.3.0.41", altitude="288400"),
    driver("ProseLog", "Proseware Audit", "1.9.77.0", altitude="385420"),
    driver("LucernaMon", "Lucerne Monitoring", "5.0.0.3"),
    driver("AdvNetLwf", "Adventure Networks", "8.6.2.19"),
    driver("CohoPower", "Coho Hardware", "1.0.4.0"),
    driver("FourthUsb", "Fourth Coffee Devices", "6.2.9200.4"),
    driver("TreyCrypt", "Trey Encryption", "2.0.0.512"),
)
IN_BOX = (
    in_box("FltMgr", "fltmgr.sys"),
    in_box("Ntfs"),
    in_box("srv2"),
    in_box("disk"),
    in_box("luafv", altitude="135000"),
    in_box("Tcpip", "tcpip.sys"),
)
SERVICES = frozenset(d.service for d in THIRD_PARTY)
IMAGES = tuple(d.image for d in THIRD_PARTY)


def modules(*third: Driver) -> tuple[Module, ...]:
    base = 0xFFFFF80001600000
    system = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
    found = [
        Module(
            name,
            base + i * 0x600000,
            0x5E8000,
            0x4CE7951A + i,
            "ntkrnlmp.pdb/339E0001",
            Origin.IN_BOX,
            "in-box list",
        )
        for i, name in enumerate(system)
    ]
    for i, d in enumerate(third):
        found.append(
            Module(
                d.image,
                0xFFFFF88001400000 + i * 0x40000,
                0x21000,
                0x4F1A2B00 + i,
                "",
                d.origin,
                d.origin_because,
            )
        )
    return tuple(found)


def dump(name: str, when: str, uptime: float, *warnings: str) -> DumpFacts:
    return DumpFacts(
        path=f"vault/{name}.dmp",
        size=213_909_504,
        dump_type=2,
        dump_type_name="kernel memory dump",
        build=7601,
        machine="x64",
        processors=2,
        system_time=when,
        uptime=uptime,
        complete=True,
        warnings=warnings,
    )


def exit_stack() -> tuple[Frame, ...]:
    rows = (
        (0xFFFFF88005CC6B08, 0xFFFFF8000198DBD9, "nt!KeBugCheckEx", "ntoskrnl.exe"),
        (0xFFFFF88005CC6B10, 0xFFFFF800019AAA3D, "nt!PspExitThread+0x1a9", "ntoskrnl.exe"),
        (0xFFFFF88005CC6C10, 0xFFFFF80001964C8A, "nt!PspTerminateThreadByPointer+0x4d", "ntoskrnl.exe"),
        (0xFFFFF88005CC6C60, 0xFFFFF880048326D9, "nt!PsTerminateSystemThread+0x22", "ntoskrnl.exe"),
        (
            0xFFFFF88005CC6C90,
            0xFFFFF880048275B6,
            "srv2!SrvProcTerminateWorkerThreadInternal+0x99",
            "srv2.sys",
        ),
        (0xFFFFF88005CC6CC0, 0xFFFFF8000196FE5A, "srv2!SrvProcWorkerThread+0x1b6", "srv2.sys"),
        (0xFFFFF88005CC6D40, 0xFFFFF800016C9D26, "nt!PspSystemThreadStartup+0x5a", "ntoskrnl.exe"),
        (0xFFFFF88005CC6D80, 0, "nt!KxStartSystemThread+0x16", "ntoskrnl.exe"),
    )
    return frames(rows)


def dispatch_stack() -> tuple[Frame, ...]:
    rows = (
        (0xFFFFF88005DB1B08, 0xFFFFF8000174A9C0, "nt!KeBugCheckEx", "ntoskrnl.exe"),
        (0xFFFFF88005DB1B10, 0xFFFFF80001B66B4E, "nt!VfBugCheckNoStackUsage+0x30", "ntoskrnl.exe"),
        (0xFFFFF88005DB1B50, 0xFFFFF80001B6CC2E, "nt!VfAfterCallDriver+0x33e", "ntoskrnl.exe"),
        (0xFFFFF88005DB1BA0, 0xFFFFF88004054756, "nt!IovCallDriver+0x57e", "ntoskrnl.exe"),
        (0xFFFFF88005DB1C00, 0xFFFFF8800404B7B0, "srv2!Smb2ExecuteRead+0x9a6", "srv2.sys"),
        (0xFFFFF88005DB1C80, 0xFFFFF8800404B6FB, "srv2!SrvProcessPacket+0xa0", "srv2.sys"),
        (0xFFFFF88005DB1CC0, 0xFFFFF80001960E5A, "srv2!SrvProcWorkerThread+0x2fb", "srv2.sys"),
        (0xFFFFF88005DB1D40, 0xFFFFF800016BAD26, "nt!PspSystemThreadStartup+0x5a", "ntoskrnl.exe"),
        (0xFFFFF88005DB1D80, 0, "nt!KiStartSystemThread+0x16", "ntoskrnl.exe"),
    )
    found = frames(rows)
    saved = replace(
        found[2], note="rbx holds the saved state of the call", registers=(("rbx", 0xFFFFFA804B729790),)
    )
    return (*found[:2], saved, *found[3:])


def frames(rows: tuple[tuple[int, int, str, str], ...]) -> tuple[Frame, ...]:
    return tuple(
        Frame(i, sp, ret, ret - 5 if ret else 0, symbol, module, "context" if i == 0 else "unwound")
        for i, (sp, ret, symbol, module) in enumerate(rows)
    )


def thread(count: int = -1) -> ThreadFacts:
    return ThreadFacts(
        THREAD,
        "System",
        "4.82c",
        "srv2!SrvProcWorkerThread",
        count,
        0,
        0xFFFFF88005CC7000,
        0xFFFFF88005CC1000,
    )


def log_of(image: str, count: int = 128) -> tuple[CriticalRegionEntry, ...]:
    other = 0xFFFFFA8048CE4B50
    found = []
    for i in range(count):
        direction = "leave" if i % 2 == 0 else "enter"
        verb = "Leave" if direction == "leave" else "Enter"
        found.append(
            CriticalRegionEntry(
                other,
                direction,
                image,
                (
                    f"nt!VerifierKe{verb}CriticalRegion+0xc3",
                    f"{image}+0xaafa",
                    f"{image}+0x1e30",
                    "nt!IopLoadUnloadDriver+0x1c",
                    "nt!ExpWorkerThread+0x111",
                ),
            )
        )
    return tuple(found)


def verifier(
    level: int, log: tuple[CriticalRegionEntry, ...] = (), drivers: tuple[str, ...] = IMAGES
) -> VerifierFacts:
    names = {0x10: "Io subsystem checking enabled", 0x800: "Miscellaneous checks enabled"}
    options = tuple(text for bit, text in names.items() if level & bit)
    return VerifierFacts(level, options, drivers, bool(level & 0x800), 128 if level & 0x800 else 0, log)


def exit_triage(name: str, when: str, *, level: int = 0, **changes: object) -> Triage:
    facts = Triage(
        dump=dump(name, when, 1860.4),
        bugcheck=Bugcheck(0x20, (0, 0xFFFF, 0, 1)),
        thread=thread(),
        stack=exit_stack(),
        modules=modules(*THIRD_PARTY),
        signature=EXIT,
        verifier=verifier(level) if level else None,
        evidence=(
            Evidence(
                "0x20.count",
                "The thread ended with a kernel APC disable count of -1: one disable was never undone.",
                Strength.STRONG,
                f"KTHREAD {THREAD:x}+0x1c4, parameter 2",
            ),
            Evidence(
                "0x20.stack-innocent",
                "The stack only shows an idle srv2 worker thread that ends; the guilty call was earlier.",
                Strength.WEAK,
                "stack of the crashing thread",
                clears=("srv2.sys",),
            ),
        ),
        notes=("Which driver disabled APCs cannot be read from a thread that only exits.",),
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def instance(d: Driver, address: int, reads: bool | None = True) -> FilterInstance:
    return FilterInstance(address, f"{d.image} Instance", d.altitudes[0], d.service, d.image, d.origin, reads)


def dispatch_triage(culprit: Driver = BAD) -> Triage:
    third = enumerate((THIRD_PARTY[6], THIRD_PARTY[5], culprit))
    in_way = (
        *(instance(d, 0xFFFFFA804B5B1010 + i * 0x1200) for i, d in third),
        FilterInstance(
            0xFFFFFA804B5B8010, "luafv Instance", "135000", "luafv", "luafv.sys", Origin.IN_BOX, False
        ),
    )
    return Triage(
        dump=dump("4", "2026-03-02T09:31:12Z", 212.9),
        bugcheck=Bugcheck(0xC4, (0xC5, 0xFFFFF88001345610, 0xFFFF, 0)),
        thread=thread(),
        stack=dispatch_stack(),
        modules=modules(*(d for d in THIRD_PARTY if d is not NOISY)),
        signature=DISPATCH,
        verifier=verifier(0x810),
        dispatch=DispatchState(
            address=0xFFFFFA804B729790,
            found_in="rbx of frame 2",
            checks=(
                "dispatch routine equals parameter 2",
                "device object has type 3 and a driver object of type 4",
                "the driver's dispatch table holds the routine",
                "saved APC count equals parameter 4",
            ),
            dispatch_routine=0xFFFFF88001345610,
            dispatch_symbol="fltmgr!FltpDispatch",
            apc_before=0,
            device=0xFFFFFA804A3B0060,
            driver=r"\FileSystem\FltMgr",
            device_stack=(
                (0xFFFFFA804A3B0060, r"\FileSystem\FltMgr"),
                (0xFFFFFA804A3B1030, r"\FileSystem\Ntfs"),
            ),
            volume=0xFFFFFA804A3B0800,
            volume_name=r"\Device\HarddiskVolume3",
            instances=in_way,
        ),
        evidence=(
            Evidence(
                "0xc4.c5.dispatch-routine",
                "fltmgr!FltpDispatch returned with the APC disable count changed from 0 to -1, "
                "so a minifilter on this volume disabled APCs.",
                Strength.PROOF,
                "saved state fffffa804b729790, parameter 2 fffff88001345610",
            ),
            Evidence(
                "fltmgr.instance",
                "Three third-party minifilters handle reads on \\Device\\HarddiskVolume3.",
                Strength.STRONG,
                "FLT_VOLUME fffffa804a3b0800",
                points_to=(culprit.image, "WoodVault.sys", "ProseLog.sys"),
                clears=("luafv.sys",),
            ),
        ),
        suspects=(
            Suspect(culprit.image, 0.62, ("attached to the volume, handles reads, third-party",)),
            Suspect("WoodVault.sys", 0.19, ("attached to the volume, handles reads",)),
            Suspect("ProseLog.sys", 0.19, ("attached to the volume, handles reads",)),
        ),
    )


def full_triage() -> Triage:
    """A triage with something in every place."""
    triage = dispatch_triage()
    assert triage.thread is not None and triage.verifier is not None
    registers = tuple((name, 0xFFFFFA804B729790 + i) for i, name in enumerate(("rbx", "rbp", "rsi", "r15")))
    stack = list(triage.stack)
    stack[3] = replace(stack[3], registers=registers)
    for index in (5, 6):
        stack[index] = replace(
            stack[index], how="scanned", note="the headers of srv2.sys are not in the dump", registers=()
        )
    log = log_of("Suspect.sys", 90) + log_of("BadDriver.sys", 20)
    verifier = replace(
        triage.verifier,
        log_allocated=True,
        log_capacity=128,
        log=log,
        counters=(("RaiseIrqls", 4), ("AcquireSpinLocks", 81231)),
        loaded=(VerifiedDriver("BadDriver.sys", 0xFFFFF88001000000, 0x20000, (("PeakPagedBytes", 4096),)),),
        irp_log=tuple(
            IrpLogEntry(
                0xFFFFFA804BB00000 + 0x400 * i,
                triage.thread.address if i % 2 else 0xFFFFFA804B111040,
                0,
                -1 if i < 2 else 0,
                0,
                "srv2.sys",
                ("nt!IovAllocateIrp+0x20", "srv2!Smb2ExecuteRead+0x10"),
            )
            for i in range(60)
        ),
    )
    return replace(
        triage,
        stack=tuple(stack),
        verifier=verifier,
        processors=tuple(
            ProcessorFacts(
                i,
                0xFFFFF80001800000 + i * 0x10000,
                triage.thread.address + 0x100 * i,
                0xFFFFF80001650000,
                0xFFFFF88005DB1B08,
                "nt!KiIdleLoop+0x2d" if i else "nt!KeBugCheckEx",
                i == 0,
            )
            for i in range(2)
        ),
        unloaded=(
            UnloadedDriver("crashdmp.sys", 0xFFFFF88001DC1000, 0xFFFFF88001DCF000, "2026-03-02T09:31:12Z"),
        ),
        readings=(
            Reading(
                "critical-region log",
                ("nt!VfKeCriticalRegionTraces = nt+0x985c00 (built-in table)",),
                ("the length is a power of two",),
            ),
        ),
        wanted=(
            WantedSymbols(
                "srv2.sys", "srv2.pdb", "339E74133576439CBCDF7E0229DA37731", ("folder /symbols", "built-in")
            ),
        ),
        notes=("The name of volume 0xfffffa804a3b0800 is not in the dump.",),
    )


SHA = {n: f"{n:02x}" + "7c3b1f0a9d5e42688a1bb0c4e97f2d3361c05e8f4b7a92d0e6f81c2a3b4d5e" for n in range(40)}


def load_report(after: float, *, died: bool, seed: int = 7) -> LoadReport:
    sent = int(after * 5120) + seed
    return LoadReport(
        "burst",
        after,
        sent,
        sent - (3 if died else 0),
        sent * 65536,
        (),
        (0.4, 1.9, 6.2),
        died,
        after if died else None,
    )


def trial(
    number: int,
    purpose: str,
    outcome: Outcome,
    *,
    disabled: frozenset[str] = frozenset(),
    flags: int = 0,
    seconds: float = 20.0,
) -> Trial:
    enabled = SERVICES - disabled
    images = tuple(d.image for d in THIRD_PARTY if d.service in enabled)
    after = 0.0 if isinstance(outcome, Invalid) else outcome.after
    return Trial(
        number=number,
        host="lab-2008r2-01",
        recipe=Recipe(
            disabled,
            VerifierPlan(flags, images if flags else ()),
            LoadPlan(seconds=seconds, seed=number),
            purpose,
        ),
        enabled=enabled,
        outcome=outcome,
        started=f"2026-03-02T09:{number * 3:02d}:00Z",
        seconds=after + 68.5,
        load=load_report(after, died=isinstance(outcome, Crashed), seed=number) if after else None,
    )


def crashed(after: float, number: int, *, dump: bool = True, because: str = "") -> Crashed:
    return Crashed(
        after, Bugcheck(0x20, (0, 0xFFFF, 0, 1)), Relation.SAME, SHA[number] if dump else "", because
    )


def journal(*lines: tuple[EntryKind, str, int | None]) -> tuple[Entry, ...]:
    return tuple(
        Entry(i, f"2026-03-02T09:{i % 60:02d}:{(i * 17) % 60:02d}Z", kind, text, number)
        for i, (kind, text, number) in enumerate(lines, 1)
    )


S, A, F, W, V = EntryKind.STEP, EntryKind.ACTION, EntryKind.FINDING, EntryKind.WARNING, EntryKind.VERDICT


def minifilter_case() -> Case:
    """The article's story: a noisy innocent driver, an empty log, then a minifilter."""
    only_bad = SERVICES - {"BadDriver", "hvstor"}
    trials = (
        trial(1, "Reproduce the customer's crash", crashed(6.2, 1)),
        trial(2, "See who enters and leaves critical regions", crashed(8.4, 2), flags=0x800),
        trial(
            3,
            "Take the noisy driver out and look again",
            crashed(7.1, 3),
            flags=0x800,
            disabled=frozenset({"Suspect"}),
        ),
        trial(
            4,
            "Stop in the guilty call itself",
            Crashed(5.3, Bugcheck(0xC4, (0xC5, 0xFFFFF88001345610, 0xFFFF, 0)), Relation.SIBLING, SHA[4]),
            flags=0x810,
            disabled=frozenset({"Suspect"}),
        ),
        trial(
            5, "Confirm: without BadDriver", Survived(40.0), disabled=frozenset({"BadDriver"}), seconds=40.0
        ),
        trial(6, "Confirm: with BadDriver alone", crashed(5.9, 6), disabled=frozenset(only_bad)),
    )
    crashes = {
        SHA[0]: exit_triage("customer", "2026-02-27T03:12:44Z"),
        SHA[1]: exit_triage("1", "2026-03-02T09:04:10Z"),
        SHA[2]: exit_triage(
            "2",
            "2026-03-02T09:07:31Z",
            verifier=verifier(0x800, log_of("Suspect.sys")),
            evidence=(
                Evidence(
                    "critical-region.noisy",
                    "All 128 entries of the log are calls of Suspect.sys, in balance, by other threads: "
                    "it hides everything else.",
                    Strength.WEAK,
                    "nt!VfKeCriticalRegionTraces, 128 entries",
                    points_to=("Suspect.sys",),
                ),
            ),
        ),
        SHA[3]: exit_triage("3", "2026-03-02T09:10:55Z", level=0x800),
        SHA[4]: dispatch_triage(),
        SHA[6]: exit_triage("6", "2026-03-02T09:19:20Z", modules=modules(BAD, STORAGE)),
    }
    entries = journal(
        (S, "Read the customer's dump: KERNEL_APC_PENDING_DURING_EXIT (20), APC disable count -1.", None),
        (S, "Reproduce the crash as found.", 1),
        (A, "Restarted lab-2008r2-01 with Driver Verifier off.", 1),
        (F, "The crash comes back in the lab: same bugcheck, same thread start.", 1),
        (S, "Switch on Miscellaneous checks (0x800) for 12 third-party drivers.", 2),
        (A, "Verifier settings read back after the restart: 0x800, 12 drivers.", 2),
        (F, "The critical-region log is full of Suspect.sys: a lead, not a proof.", 2),
        (S, "Take Suspect out and try again.", 3),
        (F, "It still crashes without Suspect, and the log is empty: the guilty calls are inlined.", 3),
        (S, "Switch on I/O verification (0x10).", 4),
        (F, "The dispatch routine that changed the count is fltmgr!FltpDispatch: a minifilter.", 4),
        (F, "BadDriver.sys is attached to \\Device\\HarddiskVolume3 at altitude 189600.", 4),
        (S, "Confirm without BadDriver.", 5),
        (F, "No crash in 40 s of load.", 5),
        (W, "hvstor was left on: the system disk hangs on it.", 6),
        (F, "With BadDriver alone it crashes again.", 6),
        (V, "BadDriver leaves APCs disabled (99.4 %).", None),
    )
    return Case(
        id="case-7f3a",
        title="File server FS-PROD-04 stops several times a day",
        opened="2026-03-02T08:58:07Z",
        expected=EXIT,
        load=LoadPlan(),
        drivers=THIRD_PARTY + IN_BOX,
        trials=trials,
        crashes=crashes,
        customer=SHA[0],
        verdict=Verdict(
            VerdictKind.DRIVER,
            ("BadDriver",),
            0.994,
            (
                "I/O verification stopped in fltmgr!FltpDispatch: APC disable count from 0 to -1.",
                "BadDriver.sys is attached to the volume that was read, at altitude 189600.",
                "Suspect.sys filled the critical-region log, but the crash came without it.",
            ),
            (5, 6),
        ),
        entries=entries,
    )


def played_case() -> Case:
    """The same story with the entries that the program itself writes while it plays."""
    base = minifilter_case()
    purposes = ("reproduce", "verifier", "verifier", "verifier", "confirm: without", "confirm: only")
    trials = tuple(
        replace(t, recipe=replace(t.recipe, purpose=p)) for t, p in zip(base.trials, purposes, strict=True)
    )
    headlines = (
        "Reproduce the crash as found: all drivers on, verifier off",
        "Verifier with miscellaneous checks (0x800): the log shows who entered and did not leave",
        "Verifier with miscellaneous checks (0x800), Suspect.sys off: Suspect.sys fills the whole log",
        "Verifier with miscellaneous checks and I/O verification (0x810): it stops at the guilty call",
        "Confirm with everything but BadDriver.sys: the host must now stand",
        "Confirm with only BadDriver.sys: the crash must come back",
    )
    lines: list[tuple[EntryKind, str, int | None]] = [
        (F, "the customer's dump: KERNEL_APC_PENDING_DURING_EXIT (20), build 7601", None),
        (A, "setting a kernel dump with automatic restart", None),
    ]
    for t, headline in zip(trials, headlines, strict=True):
        n = t.number
        lines += [(S, headline, n), (A, "restarting", n), (F, "2322 READs answered (2340/s)", n)]
        if isinstance(t.outcome, Crashed):
            lines += [(F, "the host stopped answering 6.2 s into the load", n)]
            lines += [(F, f"STOP: {t.outcome.bugcheck.title}, dump {t.outcome.dump[:12]}", n)]
            lines += [(F, e.statement, n) for e in base.crashes[t.outcome.dump].evidence]
        else:
            lines += [(F, "stood 40 s of load", n)]
    return replace(base, id="case-play", trials=trials, entries=journal(*lines))


def callback_case() -> Case:
    """A driver that does its damage in a callback: verifier sees nothing, halving the set finds it."""
    half = frozenset({"AdvNetLwf", "BadDriver", "CohoPower", "FourthUsb", "LucernaMon", "ProseLog"})
    pair = frozenset({"GuardHook", "Suspect"})
    refused = trial(
        5,
        "Halve the rest: GuardHook and Suspect off too",
        Invalid(InvalidReason.NOT_APPLIED, "Suspect was running after the restart"),
        disabled=half | pair,
    )
    trials = (
        trial(1, "Reproduce the customer's crash", crashed(9.4, 11)),
        trial(2, "See who enters and leaves critical regions", crashed(12.1, 12), flags=0x800),
        trial(3, "Stop in the guilty call itself", crashed(7.7, 13), flags=0x810),
        trial(4, "Halve: six drivers off", crashed(10.6, 14), disabled=half),
        replace(refused, enabled=refused.enabled | {"Suspect"}),
        trial(6, "The same again", Survived(42.0), disabled=half | pair, seconds=42.0),
        trial(
            7,
            "GuardHook back on, the other four off",
            crashed(8.8, 17, dump=False, because="the page file was too small for a kernel dump"),
            disabled=half | {"Suspect", "TailDisk", "TreyCrypt", "WoodVault"},
        ),
        trial(
            8, "Confirm: without GuardHook", Survived(60.0), disabled=frozenset({"GuardHook"}), seconds=60.0
        ),
        trial(
            9,
            "Confirm: with GuardHook alone",
            crashed(11.3, 19),
            disabled=frozenset(SERVICES - {"GuardHook", "hvstor"}),
        ),
    )
    crashes = {
        SHA[10]: exit_triage("customer", "2026-02-20T14:00:09Z"),
        SHA[11]: exit_triage("11", "2026-03-02T09:04:10Z"),
        SHA[12]: exit_triage(
            "12",
            "2026-03-02T09:07:31Z",
            verifier=verifier(0x800, log_of("Suspect.sys", 38) + log_of("WoodVault.sys", 14)),
        ),
        SHA[13]: exit_triage("13", "2026-03-02T09:10:55Z", level=0x810),
        SHA[14]: exit_triage("14", "2026-03-02T09:14:55Z"),
        SHA[19]: exit_triage("19", "2026-03-02T09:29:20Z"),
    }
    return replace(
        minifilter_case(),
        id="case-91c0",
        title="Print and file server stops when the backup reads",
        crashes=crashes,
        customer=SHA[10],
        trials=trials,
        verdict=Verdict(
            VerdictKind.DRIVER,
            ("GuardHook",),
            0.967,
            (
                "Every trial that crashed had GuardHook on; every trial without it stood.",
                "I/O verification did not stop in a dispatch routine, so the calls are made in a callback.",
            ),
            (8, 9),
        ),
        entries=journal(
            (S, "Reproduce the crash as found.", 1),
            (F, "The crash comes back in the lab.", 1),
            (F, "The log names Suspect.sys and WoodVault.sys, both in balance.", 2),
            (
                F,
                "Even with I/O verification the thread dies at its exit: no dispatch routine is to blame.",
                3,
            ),
            (F, "Six drivers are cleared: the crash comes without them.", 4),
            (W, "Suspect was running after the restart; the trial says nothing.", 5),
            (F, "Without GuardHook and Suspect it stands.", 6),
            (W, "No dump: the page file was too small for a kernel dump.", 7),
            (V, "GuardHook leaves APCs disabled (96.7 %).", None),
        ),
    )


def undecided_case() -> Case:
    base = callback_case()
    return replace(
        base,
        id="case-33aa",
        trials=base.trials[:2] + base.trials[3:5],
        crashes={k: v for k, v in base.crashes.items() if k in (SHA[10], SHA[11], SHA[12], SHA[14])},
        verdict=Verdict(
            VerdictKind.UNDECIDED,
            ("GuardHook", "LucernaMon", "Suspect"),
            0.41,
            ("The time given to the case ran out after 4 trials.",),
        ),
        entries=base.entries[:5],
    )


def one_of_case() -> Case:
    base = callback_case()
    return replace(
        base,
        id="case-51b2",
        verdict=Verdict(
            VerdictKind.ONE_OF,
            ("GuardHook", "hvstor"),
            0.93,
            ("hvstor is pinned, so GuardHook was never on without it.",),
            (8,),
        ),
    )


def accusing(triage: Triage, *images: str) -> Triage:
    """The same dump, with a frame's evidence against `images`."""
    found = Evidence(
        "fault.module",
        f"The faulting instruction lies in {images[0]}.",
        Strength.MODERATE,
        "frame 3 of the crashing thread",
        points_to=images,
    )
    return replace(triage, evidence=(*triage.evidence, found))


def system_case() -> Case:
    """Everything that could be switched off was; two pinned drivers remain, the dump names one of them."""
    network = driver("AdvNetLwf", "Adventure Networks", "8.6.2.19", group="NDIS", pinned="the NIC's driver")
    bare = frozenset(SERVICES - {"hvstor", "AdvNetLwf"})
    return replace(
        minifilter_case(),
        id="case-0c11",
        drivers=tuple(network if d.service == "AdvNetLwf" else d for d in (*THIRD_PARTY, *IN_BOX)),
        trials=(
            trial(1, "Reproduce the customer's crash", crashed(6.2, 1)),
            trial(2, "All removable third-party drivers off", crashed(5.5, 2), disabled=bare),
        ),
        crashes={SHA[0]: accusing(exit_triage("customer", "2026-02-27T03:12:44Z"), "hvstor.sys")},
        verdict=Verdict(
            VerdictKind.SYSTEM,
            (),
            0.97,
            (
                "the crash also came with every removable third-party driver off",
                "AdvNetLwf.sys was never switched off: it is pinned (the NIC's driver)",
                "hvstor.sys is named by evidence, but is pinned and was never switched off",
            ),
        ),
        entries=(),
    )


def not_reproducible_case() -> Case:
    base = minifilter_case()
    missing = replace(driver("VanArsdelFs", "VanArsdel", "1.0"))
    customer = exit_triage("customer", "2026-02-27T03:12:44Z", modules=modules(*THIRD_PARTY, missing))
    return replace(
        base,
        id="case-77d0",
        trials=tuple(
            trial(n, "Reproduce the customer's crash", Survived(60.0), seconds=60.0) for n in (1, 2, 3)
        ),
        crashes={SHA[0]: customer},
        verdict=Verdict(VerdictKind.NOT_REPRODUCIBLE, (), 0.8, ("180 s of load brought no crash.",)),
        entries=base.entries[:2],
    )


def no_dump_case() -> Case:
    """Opened without a customer's dump, and the lab's own crashes left none."""
    why = "the page file was too small for a kernel dump"
    return replace(
        minifilter_case(),
        id="case-0000",
        trials=(
            trial(1, "", crashed(6.2, 1, dump=False, because=why)),
            trial(2, "", crashed(4.1, 2, dump=False), disabled=frozenset({"Suspect"})),
            trial(3, "", Survived(30.0), disabled=frozenset({"BadDriver"}), seconds=30.0),
        ),
        crashes={},
        customer="",
        verdict=None,
        entries=(),
    )


def open_case() -> Case:
    """The first moment: a case that holds nothing yet."""
    return Case("case-new", "", "2026-03-02T08:58:07Z", Signature(0x20, 0, "", ()), LoadPlan())


HOSTILE = (
    "<script>alert('x')</script><img src=x onerror=alert(1)>\"'`|]](javascript:x)\u202egnp.sys\x1b[31m\ud800"
)


def hostile_case() -> Case:
    """Every text that comes from a dump, a guest or a person tries to break out of the page."""
    h = HOSTILE
    bad = replace(
        BAD,
        service=h,
        image=h,
        image_path=h,
        display_name=h,
        company=h,
        signer=h,
        version=h,
        group=h,
        altitudes=(h,),
        class_filters=(ClassFilter(h, h, h, 0),),
        origin_because=h,
        pinned=h,
    )
    t = dispatch_triage()
    assert t.dispatch is not None and t.thread is not None and t.verifier is not None
    triage = replace(
        t,
        dump=replace(t.dump, path=h, dump_type_name=h, machine=h, system_time=h, warnings=(h,)),
        thread=replace(t.thread, process=h, cid=h, start=h),
        stack=tuple(replace(f, symbol=h, module=h, note=h, how=h) for f in t.stack),
        modules=tuple(replace(m, name=h, pdb=h, origin_because=h) for m in t.modules[-2:]),
        signature=Signature(0xC4, 0xC5, h, (h,)),
        verifier=VerifierFacts(0x810, (h,), (h,), True, 128, (CriticalRegionEntry(THREAD, h, h, (h, h)),)),
        dispatch=replace(
            t.dispatch,
            found_in=h,
            checks=(h,),
            dispatch_symbol=h,
            driver=h,
            device_stack=((1, h),),
            volume_name=h,
            instances=tuple(
                replace(i, name=h, altitude=h, filter_name=h, image=h) for i in t.dispatch.instances
            ),
        ),
        evidence=(Evidence(h, h, Strength.PROOF, h, (h,), (h,)),),
        suspects=(Suspect(h, 0.5, (h,)),),
        notes=(h,),
    )
    base = minifilter_case()
    hostile_trials = tuple(
        replace(
            x,
            host=h,
            started=h,
            enabled=frozenset({h}),
            recipe=replace(x.recipe, purpose=h, disabled=frozenset({h}), verifier=VerifierPlan(0x810, (h,))),
            load=replace(x.load, profile=h, failed=((h, 3),)) if x.load else None,
        )
        for x in base.trials
    )
    odd = replace(hostile_trials[0], number=7, outcome=Invalid(InvalidReason.NOT_APPLIED, h))
    lost = replace(hostile_trials[0], number=8, outcome=Crashed(1.0, Bugcheck(0x20), Relation.OTHER, "", h))
    return replace(
        base,
        id=h,
        title=h,
        opened=h,
        expected=Signature(0x20, 0, h, (h,)),
        drivers=(bad,),
        trials=(*hostile_trials, odd, lost),
        crashes={SHA[4]: triage, h: triage},
        customer=h,
        verdict=Verdict(VerdictKind.DRIVER, (h,), 0.9, (h,), (5, 6)),
        entries=(Entry(1, h, EntryKind.FINDING, h, 1), Entry(2, h, EntryKind.VERDICT, h)),
    )


ALL = {
    "minifilter": minifilter_case,
    "played": played_case,
    "callback": callback_case,
    "undecided": undecided_case,
    "one-of": one_of_case,
    "system": system_case,
    "not-reproducible": not_reproducible_case,
    "no-dump": no_dump_case,
    "open": open_case,
    "hostile": hostile_case,
}
