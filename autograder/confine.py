"""Confine the calling process for good: new privileges, namespaces and a scratch folder of its own, Landlock.

Each layer is tried; what the kernel refuses is left out and reported, so that `doctor` and the instructor know.
"""

import ctypes
import os
import struct
from pathlib import Path

NO_NEW_PRIVILEGES, NAMESPACES, LANDLOCK = 1, 2, 4  # bits of what confine() reports
NAMES = {NO_NEW_PRIVILEGES: "no new privileges", NAMESPACES: "own user and PID namespace", LANDLOCK: "Landlock"}

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SIGKILL = 9
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWNS = 0x10000000, 0x20000000, 0x08000000, 0x00020000
MS_NOSUID, MS_NODEV = 2, 4
SCRATCH_SIZE = 512 << 20  # bytes
KEYCTL, JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
VERSION_FLAG, PATH_BENEATH = 1, 1
WRITE_FILE = 1 << 1
# remove and make files of every kind; rename between folders from ABI 2 on, truncate from ABI 3 on
WRITE_ACCESS = {1: WRITE_FILE | sum(1 << bit for bit in range(4, 13)), 2: 1 << 13, 3: 1 << 14}
TCP_BIND_AND_CONNECT, ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3

_libc = ctypes.CDLL(None, use_errno=True)


def confine(writable: Path) -> int:
    """Apply every layer to this process, leaving it one folder to write to; return the bits of those that hold.

    Where namespaces can be had, the process that returns is the first of a PID namespace: all that it starts dies with
    it, and it can signal nothing else. Its parent waits for it and never returns. The folder is then one in memory,
    which nobody else sees and which ends with the process, whatever was put into it.
    """
    held = NO_NEW_PRIVILEGES if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 else 0
    if _enter_namespaces():
        held |= NAMESPACES
        size = f"size={SCRATCH_SIZE},mode=700".encode()
        _libc.mount(b"tmpfs", os.fsencode(writable), b"tmpfs", MS_NOSUID | MS_NODEV, size)
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        _libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    return held | (LANDLOCK if _landlock(writable) else 0)


def _enter_namespaces() -> bool:
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) != 0:
        return False
    _libc.unshare(CLONE_NEWIPC)  # shared memory, semaphores and queues of its own
    _libc.syscall(KEYCTL.get(os.uname().machine, -1), JOIN_SESSION_KEYRING, None)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path("/proc/self", name).write_text(text, encoding="ascii")
    return True


def _landlock(writable: Path) -> bool:
    """Forbid writing outside a folder, and where the kernel is new enough TCP and signals to others."""
    abi = _libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG)
    if abi < 1:
        return False
    access = sum(bits for version, bits in WRITE_ACCESS.items() if version <= abi)
    rules = [access, TCP_BIND_AND_CONNECT, ABSTRACT_SOCKETS_AND_SIGNALS][: 1 + (abi >= 4) + (abi >= 6)]
    attributes = struct.pack(f"={len(rules)}Q", *rules)
    ruleset = _libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        allowed = _allow(ruleset, writable, access) and _allow(ruleset, Path(os.devnull), WRITE_FILE)
        return allowed and _libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> bool:
    descriptor = os.open(path, os.O_PATH)
    try:
        rule = struct.pack("=Qi", access, descriptor)
        return bool(_libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0) == 0)
    finally:
        os.close(descriptor)
