"""How a process shuts itself in: namespaces, limits, a uid of its own, and system calls that the kernel refuses it."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import resource
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

NEW_MOUNTS, NEW_IPC, NEW_PIDS, NEW_NET = 0x20000, 0x8000000, 0x20000000, 0x40000000
NO_SUID, NO_DEVICES, BIND, RECURSIVE = 2, 4, 0x1000, 0x4000
SET_NO_NEW_PRIVILEGES = 38
CAPABILITIES_VERSION = 0x20080522

# What no namespace divides: keyrings, sockets of other families (of virtual machines, say), and io_uring, which opens
# sockets past a filter of system calls. By machine: the number that Linux knows it by, add_key, request_key and keyctl,
# and socket (linux/audit.h, asm/unistd.h)
SYSTEM_CALLS = {
    "x86_64": (0xC000003E, (248, 249, 250), 41),
    "aarch64": (0xC00000B7, (217, 218, 219), 198),
    "riscv64": (0xC00000F3, (217, 218, 219), 198),
}
IO_URING_SETUP, FOREIGN_CALLS = 425, 0x40000000  # x86_64's second set of calls begins here
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)  # 16: netlink
SET_SECCOMP, FILTER = 22, 2
LOAD, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's filter machine (linux/bpf_common.h)

libc = ctypes.CDLL(None, use_errno=True)


def system_call(name: str, *arguments: Any) -> None:
    """Call a function of the C library that returns 0 where it succeeds. Raises OSError."""
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def enter_namespaces(kept: list[str]) -> None:
    """Go on in new namespaces, with a /proc and a /tmp of one's own.

    kept: folders below /tmp that Python lies in.
    """
    system_call("unshare", NEW_MOUNTS | NEW_IPC | NEW_NET)
    # in a chroot the kernel refuses new user namespaces, whose owner could mount and reach much more of the kernel
    system_call("mount", b"/", b"/tmp", None, BIND | RECURSIVE, None)
    os.chroot("/tmp")
    system_call("mount", b"proc", b"/proc", b"proc", NO_SUID | NO_DEVICES, None)
    for path in (b"/proc/keys", b"/proc/key-users"):  # they list the keys of whoever grades
        if os.path.exists(path):
            system_call("mount", b"/dev/null", path, None, BIND, None)
    places = {name: os.open(name, os.O_PATH) for name in kept}
    for private in (b"/tmp", b"/dev/shm"):
        system_call("mount", b"tmpfs", private, b"tmpfs", NO_SUID | NO_DEVICES, b"size=16m,mode=1777")
    for name, place in places.items():
        for folder in [*reversed(Path(name).parents[:-2]), Path(name)]:
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        system_call("mount", f"/proc/self/fd/{place}".encode(), name.encode(), None, BIND | RECURSIVE, None)


def limit(limits: dict[str, Any]) -> None:
    """Bound this process and its children, each of them."""
    linux = sys.platform == "linux"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if linux else 0
    for name, value in (
        ("RLIMIT_AS", used + limits["memory"]),  # torch alone has gigabytes of address space
        ("RLIMIT_CPU", math.ceil(limits["seconds"]) + 1),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_FSIZE", limits["file_size"]),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_CORE", 0),
    ):
        hard = resource.getrlimit(getattr(resource, name))[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that is too large is an OSError, not a death


def drop_privileges(uid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    if sys.platform == "linux":
        system_call("prctl", SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        system_call("capset", struct.pack("II", CAPABILITIES_VERSION, 0), bytes(24))


def refuse_what_is_shared() -> None:
    """Let the kernel refuse this process, and those it makes, the system calls that reach what all processes share."""
    if sys.platform != "linux" or os.uname().machine not in SYSTEM_CALLS:
        return
    machine, calls, open_socket = SYSTEM_CALLS[os.uname().machine]
    # a code of the machine, its number, and where it goes on if the test holds and if not
    tests: list[tuple[int, int, str | None, str | None]] = [
        (LOAD, 4, None, None),
        (IF_EQUAL, machine, "next", "refuse"),
    ]
    tests += [(LOAD, 0, None, None), (IF_AT_LEAST, FOREIGN_CALLS, "refuse", "next")]
    tests += [(IF_EQUAL, call, "refuse", "next") for call in (*calls, IO_URING_SETUP)]
    tests += [(IF_EQUAL, open_socket, "next", "allow"), (LOAD, 16, None, None)]  # its first argument
    tests += [(IF_EQUAL, family, "allow", "next") for family in FAMILIES]
    places = {"refuse": len(tests), "allow": len(tests) + 1}
    program = b""
    for place, (code, number, *ways) in enumerate(tests):
        skipped = [places.get(way or "next", place + 1) - place - 1 for way in ways]
        program += struct.pack("HBBI", code, *skipped, number)
    program += struct.pack("HBBI", RETURN, 0, 0, 0x50000 | errno.EPERM) + struct.pack("HBBI", RETURN, 0, 0, 0x7FFF0000)
    kept = ctypes.create_string_buffer(program)
    system_call("prctl", SET_SECCOMP, FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(kept)), 0, 0)
