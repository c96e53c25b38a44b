"""Capture the golden records anew: `sudo .venv/bin/python -m tests.golden.capture [NAME…]`.

Each deed below is done by a real child under the real sensor.  The bytes of the record go to NAME.bin, what they mean
to NAME.json; tests/unit/test_golden.py holds the two together from then on.  Look at the difference before you commit
it: the JSON is the expectation, and a capture writes what the code says today.  Needs root; NAMEs are all or some of
DEEDS, without them all are captured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import AgentSignal
from agent.model import Bpf
from agent.model import Canary
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Event
from agent.model import FdDup
from agent.model import FileLink
from agent.model import FileMode
from agent.model import FileOpen
from agent.model import FileOwner
from agent.model import FileRename
from agent.model import FileTruncate
from agent.model import FileUnlink
from agent.model import IoUringSetup
from agent.model import Kexec
from agent.model import LibraryMap
from agent.model import MemfdCreate
from agent.model import MemProtect
from agent.model import ModuleLoad
from agent.model import Mount
from agent.model import NetAccept
from agent.model import NetBind
from agent.model import NetConnect
from agent.model import NetListen
from agent.model import NetSocket
from agent.model import PerfEvent
from agent.model import ProcessChdir
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessFork
from agent.model import ProcessName
from agent.model import ProcessNamespace
from agent.model import ProcessRoot
from agent.model import ProcessVm
from agent.model import Ptrace
from agent.model import Throttled
from agent.model import UnixConnect
from agent.model import Userfaultfd
from agent.model import UserId
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from tests.kernel import networks
from tests.kernel import races
from tests.kernel.int80 import INT80

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
TIMEOUT_S = 10.0
COMPAT_TIMEOUT_S = 60.0
ATTEMPTS = 5  # a race may be lost
TOKEN = 0xFEDCBA9876543210  # a canary's, above what a signed number holds

PYTHON = (SYSTEM_PYTHON, "-I", "-c")
OPEN = "import os, sys; os.chdir(sys.argv[1]); os.open({path}, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)"
SENSITIVE = (
    "import os, sys; os.chdir(sys.argv[1]); os.mkdir('.ssh'); os.mknod('.ssh/id_rsa'); os.open('.ssh/id_rsa', 0)"
)
FLOOD = """
import os, sys
os.chdir(sys.argv[1])
for name in map(str, range(3000)): os.mknod(name)
for name in map(str, range(3000)): os.close(os.open(name, os.O_WRONLY))
"""
IN_DIRECTORY = "import os, sys; os.chdir(sys.argv[1]); {deed}"
DEEP = "import os, sys; os.chdir(sys.argv[1]); d = '/'.join([c * 200 for c in 'abcdef']); os.makedirs(d); "
THREADED = "import threading; t = threading.Timer(60, print); t.start(); {deed}; t.cancel()"
SOCKET = "import os, socket; s = socket.create_server({address}, family=socket.{family}); "
MAP = "import mmap, os, sys; {fd}; mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)"
CONNECTED = SOCKET + "c = socket.create_connection(s.getsockname()[:2]); os.dup2(c.fileno(), 0)"
RACED_OPEN = """
os.chdir(sys.argv[1])
fd = next_fd()
pid = racer(lambda: libc.close(fd))
for number in spread(400):
    libc.close(libc.open(b"raced", os.O_CREAT | os.O_WRONLY, 0o644))
stop(pid)
"""
RACED_MEMFD = """
fd = next_fd()
pid = racer(lambda: libc.close(fd))
for number in spread(400):
    libc.close(libc.memfd_create(b"raced", 1))
stop(pid)
"""
RACED_LISTEN = """
import socket
fd = next_fd()
pid = racer(lambda: libc.close(fd))
for number in spread(400):
    s = socket.socket()
    libc.listen(s.fileno(), 1)
    s.detach()
stop(pid)
"""
ACCEPT = """
s = server(socket.{family}, port=8080)
c = tcp(socket.{family})
c.connect(s.getsockname()[:2])
{step}
"""
RACED_ACCEPT = """
s = server(port=8080)
c = socket.socket(fileno=fcntl.fcntl(tcp().detach(), fcntl.F_DUPFD, 100))  # away from the number that accept gets
fd = next_fd()
pid = racer(lambda: libc.close(fd))
for number in spread(400):
    c.connect((HERE, 8080))
    libc.close(libc.accept(s.fileno(), None, None))
    libc.connect(c.fileno(), bytes(16), 16)  # AF_UNSPEC: not connected any more
stop(pid)
"""
UNIX = """
s, c = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
os.chdir("/")
s.bind({name})
s.listen()
c.connect(s.getsockname())
"""
RACED_CONNECT = """
s, c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(b"\\0raced")
keep, fd = os.dup(c.fileno()), c.fileno()
to = struct.pack("H", socket.AF_UNIX) + s.getsockname()
pid = racer(lambda: (libc.close(fd), libc.dup2(keep, fd)))
for number in spread(400):
    libc.connect(fd, to, len(to))
stop(pid)
"""
ANSWER = """
s, c = udp(), udp()
s.bind((HERE, 53))
c.connect((HERE, 53))
c.send(message("Www.Example.test"))
records = record(b"\\xc0\\x0c", 5, wire("a.test")) + record(wire("a.test"), 1, bytes([192, 0, 2, 1])) * 1
s.sendto(reply("Www.Example.test", records, 0x8180), c.getsockname())
"""
ANSWER_BY_TCP = """
s, c = server(socket.AF_INET6), tcp(socket.AF_INET6)
c.connect((HERE6, 53))
d, _ = s.accept()
d.sendall(sized(reply("v6.test", record(b"\\xc0\\x0c", 28, socket.inet_pton(10, "2001:db8::1")), type_raw=28)))
c.recv(1)
"""
ASK_BY_TCP = """
keep = server(socket.AF_INET6)
s = tcp(socket.AF_INET6)
s.connect((HERE6, 53))
s.sendall(sized(message("example.test", type_raw=28)))
"""
ASK_AS_CHILD = """
s = tcp()
keep = server()
s.connect((HERE, 53))
if not os.fork():
    s.sendall(sized(message("inherited.test")))
    os._exit(0)
os.wait()
"""
PIDFD = """
import ctypes, os, time
libc = ctypes.CDLL(None)
child = os.fork()
if not child: time.sleep(60)
assert libc.setns(libc.syscall(434, child, 0), 0x04000000) == 0
os.kill(child, 9)
os.wait()
"""
TRACE = """
import ctypes, os, subprocess
child = subprocess.Popen(("/bin/sleep", "60"), cwd="/")
ctypes.CDLL(None).ptrace(0x4206, {number}, 0, 0)
child.kill()
child.wait()
"""
WRITE_VM = """
import ctypes, os, time
number = os.fork()
if not number: time.sleep(60)
ctypes.CDLL(None).process_vm_writev(number, (ctypes.c_uint64 * 2)(8, 8), 1, (ctypes.c_uint64 * 2)(8, 8), 1, 0)
os.kill(number, 9)
os.wait()
"""
PROTECT = """
import ctypes
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
libc.mmap.restype = ctypes.c_void_p
memory = libc.mmap(None, ctypes.c_size_t(8192), 3, 0x22, -1, ctypes.c_size_t(0))
libc.mprotect({address}, {size}, {protection})
"""
MOUNT = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, 0x44000, None) == 0
os.chdir(sys.argv[1])
{deed}
"""
SET = "libc.syscall(431, libc.syscall(430, b'tmpfs', 1), 1, b'source', b'caf\\xe9', 0)"
MOVE = "fd = libc.syscall(430, b'tmpfs', 1); libc.syscall(431, fd, 6, None, None, 0)"
MOVE = f"{MOVE}; libc.syscall(429, libc.syscall(432, fd, 1, 0), b'', -100, b'.', 4)"
PERF = "import ctypes; ctypes.CDLL(None).syscall(298, {attributes}, 1, -1, -1, 8)"
RING = "import ctypes; ctypes.CDLL(None).syscall(425, 5, {parameters})"

BPF = """
import ctypes, struct
call = ctypes.CDLL(None).syscall
def bpf(command, attr): return call(321, command, ctypes.create_string_buffer(attr, 128), len(attr))
CODE = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xb7, 0, 0, 1, 0x95, 0, 0, 0))
LICENSE = ctypes.create_string_buffer(b"GPL")
WHERE = (ctypes.addressof(CODE), ctypes.addressof(LICENSE))
def program(count): return bpf(5, struct.pack("<IIQQIIQII16s", 17, count, *WHERE, 0, 0, 0, 0, 0, b"caf\\xe9"))
{deed}
"""
WRITE = (
    "fd = bpf(0, struct.pack('<7I16s', 1, 4, 4, 8, 0, 0, 0, b'their_map')); bpf(2, struct.pack('<IIQQ', fd, 0, *WHERE))"
)
HANG = "NAME = ctypes.create_string_buffer(b'sched_process_exit')"
HANG = f"{HANG}; bpf(17, struct.pack('<QI', ctypes.addressof(NAME), program(2)))"


class Deed(NamedTuple):
    """What a child does, and which of its events is kept."""

    kind: type[Event]
    command: tuple[str, ...]
    """() for what the sensor does itself: a canary."""
    kept: Callable[[Event], bool] = lambda _: True


def raced(event: Event) -> bool:
    """Return whether the descriptor was found empty."""
    return "fd_raced" in event.flags


def is_refused(event: Event) -> bool:
    """Return whether the call failed."""
    return event.result < 0


def is_unsure(event: Event) -> bool:
    """Return whether the asker was inferred."""
    return "owner_unsure" in event.flags


def is_put_here(event: Event) -> bool:
    """Return whether something was mounted on the directory of the deed."""
    return getattr(event, "target", None) == "."


def is_hung_in(event: Event) -> bool:
    """Return whether a program was hung on something."""
    return getattr(event, "link_id", None) is not None


def on_a_network(code: str) -> tuple[str, ...]:
    """Return the command that runs `code` in a network namespace of its own, with lo up."""
    return ("/usr/bin/unshare", "--net", *PYTHON, networks.PROLOGUE + networks.ASKING + "lo_up()\n" + code)


def names(text: str) -> Callable[[Event], bool]:
    """Return a choice of events with `text` in their path."""
    return lambda event: text in getattr(event, "path", "")


DEEDS: dict[str, Deed] = {
    "process_exec": Deed(
        ProcessExec, ("/usr/bin/env", "LD_PRELOAD=libm.so.6", "/bin/true", "one", "", "\u00fc"), names("true")
    ),
    "process_exec-long": Deed(ProcessExec, ("/bin/true", *(f"argument{number}" for number in range(10_000)))),
    "process_fork": Deed(ProcessFork, ("/bin/sh", "-c", "/bin/true; exit 0")),
    "process_exit": Deed(ProcessExit, ("/bin/sh", "-c", "exit 7")),
    "process_exit-killed": Deed(ProcessExit, ("/bin/sh", "-c", "kill -9 $$")),
    "file_open": Deed(FileOpen, (*PYTHON, OPEN.format(path="'new'"))),
    "file_open-not_utf8": Deed(FileOpen, (*PYTHON, OPEN.format(path=r"b'\xff\xfe\n'"))),
    "file_open-truncated": Deed(FileOpen, (*PYTHON, DEEP + OPEN.format(path="d + '/leaf'"))),
    "file_open-shared": Deed(FileOpen, (*PYTHON, THREADED.format(deed=OPEN.format(path="'./new'")))),
    "file_open-raced": Deed(FileOpen, (*PYTHON, races.PRELUDE + RACED_OPEN), raced),
    "file_open-sensitive": Deed(FileOpen, (*PYTHON, SENSITIVE), lambda event: event.sensitive),
    "file_unlink": Deed(FileUnlink, (*PYTHON, IN_DIRECTORY.format(deed="os.mknod('./a'); os.unlink('./a')"))),
    "file_unlink-directory": Deed(
        FileUnlink,
        (*PYTHON, IN_DIRECTORY.format(deed=r"d = os.open('.', 0); os.mkdir(b'\xff'); os.rmdir(b'\xff', dir_fd=d)")),
    ),
    "file_unlink-truncated": Deed(
        FileUnlink, (*PYTHON, IN_DIRECTORY.format(deed="os.mknod('a' * 255); os.unlink('./' * 600 + 'a' * 255)"))
    ),
    "file_rename": Deed(
        FileRename, (*PYTHON, IN_DIRECTORY.format(deed="os.mknod('a'); os.rename('a', sys.argv[1] + '/b')"))
    ),
    "file_rename-not_utf8": Deed(
        FileRename,
        (
            *PYTHON,
            IN_DIRECTORY.format(
                deed=r"d = os.open('.', 0); os.mknod(b'\xff'); os.rename(b'\xff', b'\xfe', dst_dir_fd=d)"
            ),
        ),
    ),
    "file_link": Deed(FileLink, (*PYTHON, IN_DIRECTORY.format(deed="os.mknod('a'); os.link('a', './b')"))),
    "file_link-symbolic": Deed(FileLink, (*PYTHON, IN_DIRECTORY.format(deed="os.symlink('../etc', 'b')"))),
    "file_mode": Deed(FileMode, (*PYTHON, IN_DIRECTORY.format(deed="os.mknod('a'); os.chmod('./a', 0o6755)"))),
    "file_mode-descriptor": Deed(
        FileMode, (*PYTHON, IN_DIRECTORY.format(deed="os.fchmod(os.open('a', os.O_CREAT | os.O_WRONLY), 0o600)"))
    ),
    "file_mode-refused": Deed(FileMode, (*PYTHON, "import os; os.setuid(65534); os.chmod('/bin/true', 0o4755)")),
    "file_owner": Deed(FileOwner, (*PYTHON, IN_DIRECTORY.format(deed="os.mknod('a'); os.chown('a', 65534, -1)"))),
    "file_owner-link": Deed(
        FileOwner, (*PYTHON, IN_DIRECTORY.format(deed="os.symlink('a', 'b'); os.lchown('b', -1, 1)"))
    ),
    "file_owner-descriptor": Deed(
        FileOwner, (*PYTHON, IN_DIRECTORY.format(deed="os.fchown(os.open('a', os.O_CREAT), 1000, 1000)"))
    ),
    "file_truncate": Deed(
        FileTruncate, (*PYTHON, IN_DIRECTORY.format(deed="os.mknod('a'); os.truncate('./a', 1 << 33)"))
    ),
    "file_truncate-memfd": Deed(FileTruncate, (*PYTHON, "import os; os.truncate(os.memfd_create('hidden'), 4096)")),
    "library_map": Deed(LibraryMap, ("/bin/uname",), names("/libc")),
    "library_map-memfd": Deed(
        LibraryMap,
        (*PYTHON, MAP.format(fd="fd = os.memfd_create('hidden'); os.truncate(fd, 4096)")),
        names("memfd"),
    ),
    "memfd_create": Deed(MemfdCreate, (*PYTHON, r"import os; os.memfd_create(b'caf\xc3\xa9 \xff')")),
    "memfd_create-raced": Deed(MemfdCreate, (*PYTHON, races.PRELUDE + RACED_MEMFD), raced),
    "fd_dup": Deed(FdDup, (*PYTHON, CONNECTED.format(address=("127.0.0.1", 0), family="AF_INET"))),
    "fd_dup-ipv6": Deed(FdDup, (*PYTHON, CONNECTED.format(address=("::1", 0), family="AF_INET6"))),
    "net_connect": Deed(NetConnect, on_a_network("tcp().connect_ex((HERE, 443))")),
    "net_connect-ipv6": Deed(NetConnect, on_a_network("tcp(socket.AF_INET6).connect_ex((HERE6, 443))")),
    "net_connect-mapped": Deed(NetConnect, on_a_network("udp(socket.AF_INET6).connect(('::ffff:127.0.0.1', 443))")),
    "net_connect-datagram": Deed(NetConnect, on_a_network("udp().sendto(b'x', (HERE, 514))")),
    "dns_query": Deed(DnsQuery, on_a_network("udp().sendto(message('Pool.Example.test'), (HERE, 53))")),
    "dns_query-tcp_ipv6": Deed(DnsQuery, on_a_network(ASK_BY_TCP)),
    "dns_query-bytes": Deed(
        DnsQuery, on_a_network(r"udp().sendto(message([b'\0.\xff', b'x' * 63], type_raw=16), (HERE, 53))")
    ),
    "dns_query-inherited": Deed(DnsQuery, on_a_network(ASK_AS_CHILD), is_unsure),
    "fd_dup-not_connected": Deed(FdDup, (*PYTHON, "import os, socket; s = socket.socket(); os.dup2(s.fileno(), 0)")),
    "process_vm": Deed(ProcessVm, (*PYTHON, WRITE_VM)),
    "userfaultfd": Deed(Userfaultfd, (*PYTHON, "import ctypes; ctypes.CDLL(None).syscall(323, 1)")),
    "perf_event": Deed(PerfEvent, (*PYTHON, PERF.format(attributes="(ctypes.c_uint32 * 28)(1, 112, 3)"))),
    "perf_event-unreadable": Deed(PerfEvent, (*PYTHON, PERF.format(attributes="1"))),
    "io_uring_setup": Deed(IoUringSetup, (*PYTHON, RING.format(parameters="(ctypes.c_uint32 * 30)(0, 0, 2)"))),
    "io_uring_setup-unreadable": Deed(IoUringSetup, (*PYTHON, RING.format(parameters="1"))),
    "mem_protect": Deed(MemProtect, (*PYTHON, PROTECT.format(address="memory", size=4097, protection=5))),
    "mem_protect-heap": Deed(
        MemProtect, (*PYTHON, PROTECT.format(address="libc.sbrk(0) - 4096 & -4096", size=4096, protection=7))
    ),
    "mount": Deed(Mount, (*PYTHON, MOUNT.format(deed="libc.mount(b'none', b'.', b'tmpfs', 6, None)")), is_put_here),
    "mount-refused": Deed(Mount, (*PYTHON, "import ctypes; ctypes.CDLL(None).mount(b'a', b'b', b'none', 0, None)")),
    "mount-moved": Deed(Mount, (*PYTHON, MOUNT.format(deed=MOVE)), is_put_here),
    "mount-set": Deed(Mount, (*PYTHON, MOUNT.format(deed=SET)), lambda event: getattr(event, "key", None) is not None),
    "mount-umount": Deed(Mount, (*PYTHON, "import ctypes; ctypes.CDLL(None).umount2(b'/proc/none', 2)")),
    "process_name": Deed(ProcessName, (*PYTHON, r"import ctypes; ctypes.CDLL(None).prctl(15, b'[kworker/\xff:1]')")),
    "process_namespace": Deed(
        ProcessNamespace, (*PYTHON, "import ctypes; assert ctypes.CDLL(None).unshare(0x64020000) == 0")
    ),
    "process_namespace-setns": Deed(
        ProcessNamespace,
        (*PYTHON, "import ctypes, os; ctypes.CDLL(None).setns(os.open('/proc/self/ns/net', os.O_RDONLY), 0)"),
    ),
    "process_namespace-pidfd": Deed(ProcessNamespace, (*PYTHON, PIDFD)),
    "process_namespace-refused": Deed(ProcessNamespace, (*PYTHON, "import ctypes; ctypes.CDLL(None).setns(0, 0)")),
    "process_chdir": Deed(ProcessChdir, (*PYTHON, "import os, sys; os.chdir(sys.argv[1])"), names("golden")),
    "process_chdir-chroot": Deed(
        ProcessChdir,
        (*PYTHON, IN_DIRECTORY.format(deed="os.makedirs('jail/d'); os.chroot('jail'); os.chdir('/d')")),
        lambda event: getattr(event, "path_in_root", None) is not None,
    ),
    "process_chdir-shared": Deed(
        ProcessChdir,
        (*PYTHON, THREADED.format(deed="import os, sys; os.fchdir(os.open(sys.argv[1], 0))")),
        names("golden"),
    ),
    "process_root": Deed(ProcessRoot, (*PYTHON, IN_DIRECTORY.format(deed=r"os.mkdir(b'\xff'); os.chroot(b'./\xff/')"))),
    "process_root-refused": Deed(
        ProcessRoot, (*PYTHON, "import ctypes; ctypes.CDLL(None).syscall(155, b'new', b'old')"), is_refused
    ),
    "user_id": Deed(UserId, (*PYTHON, "import os; os.setresuid(1000, 1001, 1002)")),
    "ptrace": Deed(Ptrace, (*PYTHON, TRACE.format(number="child.pid"))),
    "ptrace-nobody": Deed(Ptrace, (*PYTHON, TRACE.format(number="-1"))),
    "net_listen": Deed(NetListen, on_a_network("s = tcp(); s.bind((HERE, 8080)); s.listen()")),
    "net_listen-ipv6": Deed(
        NetListen, on_a_network("s = tcp(socket.AF_INET6); cookie(s); s.bind(('::', 8080)); s.listen()")
    ),
    "net_listen-refused": Deed(NetListen, on_a_network("s = udp(); s.bind((HERE, 8080)); libc.listen(s.fileno(), 1)")),
    "net_listen-raced": Deed(NetListen, (*PYTHON, races.PRELUDE + RACED_LISTEN), raced),
    "net_bind": Deed(NetBind, on_a_network("tcp().bind((HERE, 8080))")),
    "net_bind-ipv6": Deed(NetBind, on_a_network("udp(socket.AF_INET6).bind(('::', 0))")),
    "net_bind-mapped": Deed(NetBind, on_a_network("tcp(socket.AF_INET6).bind(('::ffff:127.0.0.1', 8080))")),
    "net_accept": Deed(NetAccept, on_a_network(ACCEPT.format(family="AF_INET", step="s.accept()"))),
    "net_accept-ipv6": Deed(NetAccept, on_a_network(ACCEPT.format(family="AF_INET6", step="s.accept()"))),
    "net_accept-raced": Deed(NetAccept, on_a_network(races.PRELUDE + RACED_ACCEPT), raced),
    "net_socket": Deed(NetSocket, on_a_network("socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)")),
    "net_socket-packet": Deed(NetSocket, on_a_network("socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)")),
    "net_socket-refused": Deed(NetSocket, on_a_network("os.setuid(65534); libc.socket(10, 3, 255)")),
    "unix_connect": Deed(UnixConnect, on_a_network(UNIX.format(name=r"sys.argv[1] + '/caf\u00e9'")), names("caf")),
    "unix_connect-abstract": Deed(UnixConnect, on_a_network(UNIX.format(name=r"b'\0caf\xe9\0\n'")), names("caf")),
    "unix_connect-refused": Deed(
        UnixConnect, on_a_network("socket.socket(socket.AF_UNIX).connect_ex('/no/such')"), names("/no/")
    ),
    "unix_connect-raced": Deed(UnixConnect, on_a_network(races.PRELUDE + RACED_CONNECT), raced),
    "dns_answer": Deed(DnsAnswer, on_a_network(ANSWER)),
    "throttled": Deed(Throttled, (*PYTHON, FLOOD)),
    "agent_signal": Deed(AgentSignal, (*PYTHON, "import os; os.kill(os.getppid(), 28)")),  # SIGWINCH, ignored
    "agent_signal-queued": Deed(
        AgentSignal,
        (
            *PYTHON,
            "import ctypes, os; ctypes.CDLL(None).syscall(129, os.getppid(), 28, (ctypes.c_int * 32)(28, 0, -5))",
        ),
    ),
    # By calls of i386: those are seen in a kernel that takes no modules, too.
    "kexec": Deed(Kexec, (*PYTHON, INT80 + "int80(283, 0, 2, 0, 1)")),
    "module_load": Deed(ModuleLoad, (*PYTHON, INT80 + r"int80(350, os.open('/bin/true', 0), text(b'a=\xff'), 3, 0)")),
    "module_load-memory": Deed(ModuleLoad, (*PYTHON, INT80 + "int80(128, 0, 77, 1, 0)")),
    "canary": Deed(Canary, (), lambda event: getattr(event, "ring", None) == "lifecycle"),
    "canary-activity": Deed(Canary, (), lambda event: getattr(event, "ring", None) == "activity"),
    "dns_answer-no_such_name": Deed(DnsAnswer, on_a_network(ANSWER.replace("0x8180", "0x8183"))),
    "dns_answer-tcp_ipv6": Deed(DnsAnswer, on_a_network(ANSWER_BY_TCP)),
    "dns_answer-truncated": Deed(DnsAnswer, on_a_network(ANSWER.replace("* 1", "* 100"))),
    "bpf": Deed(Bpf, (*PYTHON, BPF.format(deed=HANG)), is_hung_in),
    "bpf-map": Deed(Bpf, (*PYTHON, BPF.format(deed=WRITE)), lambda event: "user_memory" in event.flags),
    "bpf-refused": Deed(Bpf, (*PYTHON, BPF.format(deed="program(1)"))),
}


def main(wanted: list[str]) -> None:
    """Do the deeds and write what came of them."""
    source = EbpfSource(Options(compat="always"))
    try:
        source.open()
        source.await_compat(COMPAT_TIMEOUT_S)
        for name in wanted or DEEDS:
            record, event = captured(source, DEEDS[name])
            (HERE / f"{name}.bin").write_bytes(record)
            expected = msgspec.json.format(msgspec.json.encode(event), indent=2)
            (HERE / f"{name}.json").write_bytes(expected + b"\n")
    finally:
        source.close()


def captured(source: EbpfSource, deed: Deed) -> tuple[bytes, Event]:
    """Do `deed`, again if it must be, and return the first event of it that is kept."""
    for _ in range(ATTEMPTS):
        pid = done(source, deed.command)
        for record, event in read(source):
            if isinstance(event, deed.kind) and event.tgid == pid and deed.kept(event):
                return record, event
    raise SystemExit(f"{deed.command[:3]} gave no such {deed.kind.__name__}")


def done(source: EbpfSource, command: tuple[str, ...]) -> int:
    """Run `command` in a directory of its own, or let a canary go when there is none; return who did it."""
    if not command:
        source.let_go(TOKEN)
        return os.getpid()
    with tempfile.TemporaryDirectory(prefix="vedette-golden-") as directory:
        child = subprocess.Popen((*command, directory), cwd="/", env={}, stdin=subprocess.DEVNULL)
        child.wait(TIMEOUT_S)
    return child.pid


def read(source: EbpfSource, seconds: float = 1.0) -> Iterator[tuple[bytes, Event]]:
    """Yield what is read within `seconds`; Unix time is the boot clock's, so that a record means the same for ever."""
    decode = Decoder(probes.load(), Counters(), wall_offset_ns=0)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for record in source.poll(left):
            if (event := decode(record)) is not None:
                yield record, event


if __name__ == "__main__":
    main(sys.argv[1:])
