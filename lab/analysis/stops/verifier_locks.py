"""0xC4 kinds about IRQL, locks and waits (Microsoft's bug check code reference)."""

from __future__ import annotations

from lab.analysis.stops.shape import BLOCK, BYTES, IRQL, NOTHING, Kinds, Parameter, Role, violation

_REQUESTED = Parameter("Requested IRQL")
_OLD_IRQL = Parameter("Old IRQL")
_SPIN_LOCK = Parameter("Spin lock", Role.LOCK)
_FAST_MUTEX = Parameter("Fast mutex", Role.LOCK)
_RESOURCE = Parameter("Resource (ERESOURCE)", Role.LOCK)
_MUTEX = Parameter("Mutex", Role.LOCK)
_PUSH_LOCK = Parameter("Push lock", Role.LOCK)
_LOCK = Parameter("Lock", Role.LOCK)
_REMOVE_LOCK = Parameter("Remove lock (verifier's own copy, unless the driver is a checked build)")
_LOOKASIDE = Parameter("Lookaside list", Role.LOCK)
_WAIT_OBJECT = Parameter("Object to wait on", Role.LOCK)
_COUNT = Parameter("Thread's APC disable count")
_HANDLE = Parameter("Handle")
_TYPE = Parameter("Object type")
_INTERNAL = Parameter("Verifier's own data")

LEVELS_AND_LOCKS: Kinds = {
    0x30: violation("KeRaiseIrql was given a bad level", IRQL, _REQUESTED),
    0x31: violation(
        "KeLowerIrql was given a bad level",
        IRQL,
        _REQUESTED,
        Parameter("0 the level is bad, 1 it is invalid in a DPC"),
    ),
    0x32: violation("KeReleaseSpinLock was called at an IRQL other than DISPATCH_LEVEL", IRQL, _SPIN_LOCK),
    0x33: violation("A fast mutex was acquired at IRQL > APC_LEVEL", IRQL, _FAST_MUTEX),
    0x34: violation("A fast mutex was released at an IRQL other than APC_LEVEL", IRQL, _FAST_MUTEX),
    0x35: violation("The kernel released a spin lock not at DISPATCH_LEVEL", IRQL, _SPIN_LOCK, _OLD_IRQL),
    0x36: violation(
        "The kernel released a queued spin lock not at DISPATCH_LEVEL",
        IRQL,
        Parameter("Number of the spin lock"),
        _OLD_IRQL,
    ),
    0x37: violation("A resource was acquired while APCs were not disabled", IRQL, _COUNT, _RESOURCE),
    0x38: violation("A resource was released while APCs were not disabled", IRQL, _COUNT, _RESOURCE),
    0x39: violation("A mutex was acquired 'unsafe' at an IRQL other than APC_LEVEL", IRQL, _COUNT, _MUTEX),
    0x3A: violation("A mutex was released 'unsafe' at an IRQL other than APC_LEVEL", IRQL, _COUNT, _MUTEX),
    0x3B: violation("A KeWait routine was called at a bad IRQL"),
    0x3C: violation("ObReferenceObjectByHandle was given a bad handle", _HANDLE, _TYPE),
    0x3D: violation("A resource that is not aligned was acquired", NOTHING, NOTHING, _RESOURCE),
    0x3E: violation("KeLeaveCriticalRegion called outside a critical region"),
    0x3F: violation(
        "An object without references was referenced or dereferenced",
        Parameter("Object"),
        Parameter("New reference count (-1 dereferenced, 1 referenced)"),
    ),
    0x40: violation("KeAcquireSpinLockAtDpcLevel was called below DISPATCH_LEVEL", IRQL, _SPIN_LOCK),
    0x41: violation("KeReleaseSpinLockFromDpcLevel was called below DISPATCH_LEVEL", IRQL, _SPIN_LOCK),
    0x42: violation("KeAcquireSpinLock was called above DISPATCH_LEVEL", IRQL, _SPIN_LOCK),
    0x80: violation("KeSetEvent was called above DISPATCH_LEVEL", IRQL, Parameter("Event", Role.LOCK)),
    0xCA: violation("A lookaside list was initialized again", _LOOKASIDE),
    0xCB: violation("A lookaside list that was not initialized was deleted", _LOOKASIDE),
    0xCC: violation("Pool with an active lookaside list in it was freed", _LOOKASIDE, BLOCK, BYTES),
    0xCD: violation(
        "A lookaside list was created with too small a block size",
        _LOOKASIDE,
        Parameter("Block size asked for"),
        Parameter("Least block size"),
    ),
    0xD0: violation("A resource was initialized again", _RESOURCE),
    0xD1: violation("A resource that was not initialized was deleted", _RESOURCE),
    0xD2: violation("Pool with an active resource in it was freed", _RESOURCE, BLOCK, BYTES),
    0xD5: violation(
        "IoReleaseRemoveLock was given another tag than IoAcquireRemoveLock",
        _REMOVE_LOCK,
        Parameter("Tag of the release"),
    ),
    0xD6: violation(
        "IoReleaseRemoveLockAndWait was given another tag than IoAcquireRemoveLock",
        _REMOVE_LOCK,
        Parameter("Tag that does not match"),
        Parameter("Tag of the acquire"),
    ),
    0xD7: violation("A remove lock was initialized again", _REMOVE_LOCK, Parameter("The driver's own lock")),
    0xDF: violation("A synchronization object is in session space", _WAIT_OBJECT),
    0xE1: violation("A synchronization object is at a bad or pageable address", _WAIT_OBJECT),
    0xE5: violation("A kernel routine was called at the wrong IRQL", IRQL),
    0xEA: violation("A push lock was acquired while APCs were enabled", IRQL, _COUNT, _PUSH_LOCK),
    0xEB: violation("A push lock was released while APCs were enabled", IRQL, _COUNT, _PUSH_LOCK),
    0x11A: violation("KeEnterCriticalRegion was called above APC_LEVEL", IRQL),
    0x11B: violation("KeLeaveCriticalRegion was called above APC_LEVEL", IRQL),
    0x120: violation("A thread waits above DISPATCH_LEVEL", Parameter("Address of the IRQL"), _WAIT_OBJECT),
    0x121: violation(
        "A thread waits at DISPATCH_LEVEL without a time-out", Parameter("Address of the IRQL"), _WAIT_OBJECT
    ),
    0x122: violation(
        "A thread waits at DISPATCH_LEVEL with a time-out that is not zero",
        Parameter("Address of the IRQL"),
        _WAIT_OBJECT,
    ),
    0x123: violation("A user-mode wait is for an object on the kernel stack", _WAIT_OBJECT),
}

DEADLOCKS: Kinds = {
    0x1000: violation("A thread acquires a lock that it holds (self-deadlock)", _LOCK),
    0x1001: violation("Locks are acquired in contradicting orders (deadlock)", _LOCK),
    0x1002: violation("A lock that was not initialized is acquired", _LOCK),
    0x1003: violation(
        "Locks are released in the wrong order",
        _LOCK,
        Parameter("Lock that should have been released first", Role.LOCK),
    ),
    0x1004: violation(
        "A lock is released by a thread that did not acquire it",
        _LOCK,
        Parameter("Thread that acquired it", Role.THREAD),
        Parameter("Current thread"),
    ),
    0x1005: violation("A lock is initialized more than once", _LOCK),
    0x1007: violation("A lock is released that was not acquired", _LOCK),
    0x1008: violation("A lock is acquired by a routine of another lock type", _LOCK, _INTERNAL, _INTERNAL),
    0x1009: violation("A lock is released by a routine of another lock type", _LOCK, _INTERNAL, _INTERNAL),
    0x100A: violation("A thread ended that owns a lock", Parameter("Owner thread", Role.THREAD), _INTERNAL),
    0x100B: violation(
        "A lock was deleted that a thread owns", _LOCK, Parameter("Owner thread", Role.THREAD), _INTERNAL
    ),
}
