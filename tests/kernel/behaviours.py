"""Programs that would notice a clumsy tracer: each prints what it met with, the same whoever watches.

python tests/kernel/behaviours.py NAME
"""

from __future__ import annotations

import ctypes
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time


def signals() -> None:
    """Signals are handled, counted, queued, ignored and fatal as ever."""
    got: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN + 3):
        signal.signal(number, lambda number, _: got.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for _ in range(100):
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
            os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN + 3})
    for _ in range(50):
        os.kill(os.getpid(), signal.SIGRTMIN + 3)
    info = [signal.sigtimedwait({signal.SIGRTMIN + 3}, 5) for _ in range(50)]
    print(len(got), got.count(signal.SIGUSR1), len([one for one in info if one and one.si_pid == os.getpid()]))
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGPIPE):
        child = subprocess.Popen(["sleep", "100"])
        child.send_signal(number)
        print(number, child.wait())
    started = time.monotonic()
    signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    time.sleep(0.3)
    print(0.25 < time.monotonic() - started < 5)


def stops() -> None:
    """A job stops and continues when it is told, and its parent hears of both."""
    # A group of its own: in an orphaned one, as below setsid, SIGTSTP is nothing (POSIX, General Information, 2.4.3).
    child = subprocess.Popen(["sh", "-c", "kill -STOP $$; kill -TSTP $$; exit 7"], process_group=0)
    for _ in range(2):
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        print("stopped", os.WIFSTOPPED(status) and os.WSTOPSIG(status), state(child.pid))
        time.sleep(0.1)
        print("still", state(child.pid))
        os.kill(child.pid, signal.SIGCONT)
        _, status = os.waitpid(child.pid, os.WCONTINUED)
        print("continued", os.WIFCONTINUED(status))
    _, status = os.waitpid(child.pid, 0)
    print("ended", os.waitstatus_to_exitcode(status))
    held = subprocess.Popen(["sleep", "100"])
    held.send_signal(signal.SIGSTOP)
    os.waitpid(held.pid, os.WUNTRACED)
    held.send_signal(signal.SIGTERM)  # waits for the SIGCONT
    time.sleep(0.1)
    print("pending", state(held.pid))
    held.send_signal(signal.SIGCONT)
    print(held.wait())
    held = subprocess.Popen(["sleep", "100"])
    held.send_signal(signal.SIGSTOP)
    os.waitpid(held.pid, os.WUNTRACED)
    held.kill()
    print(held.wait())
    many_stop()


def many_stop() -> None:
    """A process of several threads stops and goes on as one."""
    code = (
        "import os, threading, time\n"
        "for _ in range(4): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
        "os.write(1, b'x'); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, process_group=0) as held:  # as above
        held.stdout.read(1)
        for number in (signal.SIGSTOP, signal.SIGTSTP):
            held.send_signal(number)
            _, status = os.waitpid(held.pid, os.WUNTRACED)
            time.sleep(0.1)
            states = [state(int(tid)) for tid in os.listdir(f"/proc/{held.pid}/task")]
            print("all stop", os.WIFSTOPPED(status) and os.WSTOPSIG(status) == number, states)
            held.send_signal(signal.SIGCONT)
            os.waitpid(held.pid, os.WCONTINUED)
            time.sleep(0.1)
            print("all go on", {state(int(tid)) for tid in os.listdir(f"/proc/{held.pid}/task")})
        held.kill()


def state(pid: int) -> str:
    """Return whether a process is stopped; a stop that a tracer sees has another letter."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        letter = file.read().rpartition(")")[2].split()[0]
    return "stopped" if letter in "Tt" else "running"


def jobs() -> None:
    """A shell with a terminal controls its jobs."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "--norc", "-i"])
    said = b""
    lines = (
        b"PS1=; set +o history; bind 'set enable-bracketed-paste off' 2>/dev/null; stty -echo\n",
        b"sleep 100\n", b"\x1a", b"jobs -s | cut -c1-12\n", b"bg >/dev/null; jobs -r | cut -c1-12\n",
        b"kill %1; wait; echo gone $?\n", b"cat &\n", b"sleep 0.3; jobs | cut -c1-12; kill -9 %1; wait; echo over\n",
        b"sleep 100\n", b"\x03", b"echo int $?\n", b"exit 5\n",
    )  # fmt: skip
    for line in lines:
        time.sleep(0.25)
        os.write(terminal, line)
    try:
        while select.select([terminal], [], [], 3)[0] and (more := os.read(terminal, 4096)):
            said += more
    except OSError:
        pass
    words = (b"Stopped", b"Running", b"gone", b"over", b"int 130")
    print([word in said for word in words], os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def threads() -> None:
    """Many threads live at once, and one that is not the first replaces the program."""
    done = []
    for _ in range(5):
        many = [threading.Thread(target=lambda: done.append(threading.get_native_id())) for _ in range(40)]
        for one in many:
            one.start()
        for one in many:
            one.join()
    print(len(done))
    code = (
        "import os, threading, time\n"
        "for _ in range(3): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
        "pid = str(os.getpid())\n"
        "line = f'test $$ = {pid} && echo same; exit 4'\n"
        "t = threading.Thread(target=os.execv, args=('/bin/sh', ['sh', '-c', line]))\n"
        "t.start(); t.join()\n"
    )
    for _ in range(5):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        print(ran.returncode, ran.stdout.strip(), ran.stderr.strip())
    waits = code.partition("line")[0] + "time.sleep(100)\n"
    killed = subprocess.Popen([sys.executable, "-c", waits])
    time.sleep(0.2)
    killed.kill()
    print(killed.wait())


def starts() -> None:
    """vfork, posix_spawn, clone without a signal, exec that fails, scripts, and the numbers that wait gives."""
    for _ in range(20):
        pid = os.posix_spawn("/bin/true", ["true"], os.environ)
        assert os.waitpid(pid, 0) == (pid, 0)
    print(os.system("exit 9") >> 8, subprocess.run(["/bin/sh", "-c", "(exit 3) & wait $!"], check=False).returncode)
    try:
        os.execv("/nowhere", ["x"])
    except OSError as error:
        print(error.errno)
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "script")
        with open(script, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho $0 | sed 's,.*/,,'; echo $#; exit 6\n")
        os.chmod(script, 0o755)
        print(subprocess.run([script, "a", "b"], check=False).returncode)
    orphan = subprocess.run(["sh", "-c", "(sleep 0.2; exit 0) & echo left"], capture_output=True, text=True, check=True)
    print(orphan.stdout.strip())
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os._exit(12)
    _, status, usage = os.wait4(pid, 0)
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss > 0)
    print(subprocess.run(["sh", "-c", "exec 3>&1; ulimit -n 16; ulimit -n; kill -9 $$"], check=False).returncode)


def privileges() -> None:
    """A program with the set-user-ID bit gains, and does not where no_new_privs forbids it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = os.path.join(folder, "id")
        shutil.copy("/usr/bin/id", program)
        os.chown(program, 65534, 65534)
        os.chmod(program, 0o6755)
        for options in ([], ["--no-new-privs"]):
            line = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *options, program]
            ran = subprocess.run([*line, "-u"], capture_output=True, text=True, check=False)
            print(options, ran.returncode, ran.stdout.strip(), ran.stderr.strip())
        dumpable = ["setpriv", "--reuid=1000", "--clear-groups", "cat", "/proc/self/status"]
        ran = subprocess.run(dumpable, capture_output=True, text=True, check=False)
        print([line for line in ran.stdout.splitlines() if line.startswith(("Uid", "CapEff", "NoNewPrivs"))])


def debuggers() -> None:
    """strace and gdb do their work: on programs that they start, on one that runs, with what it makes."""
    traced = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "sh", "-c", "/bin/true; /bin/true; exit 2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print("strace", traced.returncode, traced.stderr.count('execve("/bin/true"'), "EPERM" in traced.stderr)
    ran = subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", "run", "--args", "/bin/sh", "-c", "exit 3"],
        capture_output=True,
        text=True,
        check=False,
    )
    print("gdb", "exited with code 03" in ran.stdout, "ermitted" in ran.stderr)
    slept = subprocess.Popen(["sleep", "100"])
    time.sleep(0.3)
    attached = subprocess.run(
        ["gdb", "-nx", "-batch", "-p", str(slept.pid), "-ex", "info inferiors"],
        capture_output=True,
        text=True,
        check=False,
    )
    print("attached", f"process {slept.pid}" in attached.stdout, "ermitted" in attached.stderr, slept.poll())
    slept.kill()
    print(slept.wait())
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "asks")
        source = "#include <sys/ptrace.h>\n#include <stdio.h>\n"
        source += 'int main() { printf("%ld\\n", ptrace(PTRACE_TRACEME, 0, 0, 0)); }'
        subprocess.run(["gcc", "-x", "c", "-o", program, "-"], input=source, text=True, check=True)
        print("asks", subprocess.run([program], capture_output=True, text=True, check=False).stdout.strip())


def itself() -> None:
    """What a process knows about itself: its parent, its state, its dumpability, its time."""
    libc = ctypes.CDLL(None)
    print(libc.prctl(3, 0, 0, 0, 0), os.getsid(0) > 0, sorted(os.sched_getaffinity(0)))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, str(os.getppid() == int(sys.argv[2]) if len(sys.argv) > 2 else True).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    print(os.read(read, 100))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
