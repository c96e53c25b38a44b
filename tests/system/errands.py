"""Ordinary work: what administrators, builders and services do all day, as scripts that are really run.

Each runs in a directory of its own, $1 being a word that no file of this host has in its name.  What it puts outside
of that directory it takes away again.
"""

from __future__ import annotations

import shutil
from typing import NamedTuple

NEW_BINARY = "Execution:Runtime/NewBinaryExecuted"
NEW_LIBRARY = "Execution:Runtime/NewLibraryLoaded"
ELEVATION = "PrivilegeEscalation:Runtime/ElevationToRoot"


class Errand(NamedTuple):
    """One piece of work."""

    name: str
    needs: tuple[str, ...]
    """Programs."""
    script: str
    meant: tuple[str, ...] = ()
    """Findings that the catalogue declares for it, in a container: software that an image did not bring."""
    soak: bool = False
    """Takes long."""
    host_only: str | None = None
    """Why it cannot be run in a container of the tests."""

    def lacks(self) -> str | None:
        """Return a program that is not installed here."""
        return next((program for program in self.needs if shutil.which(program) is None), None)


PACKAGE = r"""
mkdir -p p/DEBIAN p/usr/lib/$1 p/lib/systemd/system p/etc/cron.d
cp /bin/true p/usr/lib/$1/program
cp "$(ldd /bin/ls | sed -n 's/.*=> \(\/[^ ]*libc\.so[^ ]*\).*/\1/p')" p/usr/lib/$1/lib$1.so
printf '[Service]\nExecStart=/usr/lib/%s/program\n' $1 >p/lib/systemd/system/$1.service
printf '# 0 0 * * * root /usr/lib/%s/program\n' $1 >p/etc/cron.d/$1
printf 'Package: %s\nVersion: 1\nArchitecture: all\n' $1 >p/DEBIAN/control
printf 'Maintainer: x <x@example.com>\nDescription: x\n' >>p/DEBIAN/control
cat >p/DEBIAN/postinst <<END
#!/bin/sh
set -e
getent passwd $1 >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin $1
/usr/lib/$1/program
ldconfig
END
printf '#!/bin/sh\nset -e\nif [ "$1" = purge ]; then userdel %s; fi\n' $1 >p/DEBIAN/postrm
chmod 755 p/DEBIAN/postinst p/DEBIAN/postrm
dpkg-deb --root-owner-group --build p $1.deb
"""

DPKG = (
    PACKAGE
    + r"""
trap 'dpkg --purge $1' EXIT
dpkg --install $1.deb
/usr/lib/$1/program
dpkg --remove $1
"""
)

APT = (
    PACKAGE
    + r"""
mkdir -p repo lists/partial cache/archives/partial empty
cp $1.deb repo/
{ dpkg-deb --field $1.deb; printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n' \
    $1 $(stat -c %s $1.deb) $(sha256sum $1.deb | cut -d' ' -f1); } >repo/Packages
echo "deb [trusted=yes] file:$PWD/repo ./" >sources.list
apt() {
    apt-get -qq -y -o Dir::Etc::SourceList=$PWD/sources.list -o Dir::Etc::SourceParts=$PWD/empty \
        -o Dir::State::Lists=$PWD/lists -o Dir::Cache=$PWD/cache -o DPkg::Lock::Timeout=60 "$@"
}
trap 'apt purge $1' EXIT
apt update
apt install $1
apt remove $1
"""
)

BUILD = r"""
printf 'int twice(int x) { return 2 * x; }\n' >twice.c
printf 'int twice(int); int main(void) { return twice(0); }\n' >main.c
printf 'check: program\n\t./program\nprogram: main.o libtwice.so\n' >Makefile
printf '\t$(CC) -o $@ main.o -L. -ltwice -Wl,-rpath,$(CURDIR)\n' >>Makefile
printf 'libtwice.so: twice.c\n\t$(CC) -shared -fPIC -o $@ twice.c\n' >>Makefile
make CC=gcc check
gcc -O2 -g -static -o other main.c twice.c && ./other
gcc -fsanitize=address -o checked main.c twice.c && ASAN_OPTIONS=detect_leaks=0 ./checked
strip -o stripped other
"""

PIP = r"""
mkdir source out
cat >source/setup.py <<'END'
from setuptools import Extension, setup
setup(name="quietx", version="1", ext_modules=[Extension("quietx", ["x.c"])])
END
cat >source/x.c <<'END'
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "quietx", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_quietx(void) { return PyModule_Create(&module); }
END
python3 -m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check \
    --target out ./source
PYTHONPATH=out python3 -c 'import quietx'
"""

GIT = r"""
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x
git init -q a
cd a
for i in 1 2 3 4 5 6 7 8 9 10; do echo $i >$i; git add $i; git commit -q -m $i; done
printf '#!/bin/sh\nexit 0\n' >.git/hooks/pre-commit; chmod 755 .git/hooks/pre-commit
git commit -q --allow-empty -m hook
cd ..
git clone -q a b
git clone -q --no-local a c
git -C b gc -q --aggressive --prune=now
git -C b rebase -q --root
"""

LOGROTATE = r"""
mkdir log; echo x >log/a.log; chmod 755 log
printf '%s/log/*.log {\n rotate 2\n compress\n create\n su root root\n postrotate\n  true\n endscript\n}\n' "$PWD" >conf
chmod 644 conf
/usr/sbin/logrotate --force --state "$PWD/state" conf
/usr/sbin/logrotate --force --state "$PWD/state" conf
test -e log/a.log.2.gz
"""

TMPFILES = r"""
mkdir -p root/etc root/old
printf 'root:x:0:0::/root:/bin/sh\n' >root/etc/passwd; printf 'root:x:0:\n' >root/etc/group
printf 'd /run/x 0755 root root -\nf /run/x/y 0644 root root - text\n' >x.conf
printf 'L /run/z - - - - /run/x/y\nD /old 0755 root root 1s\n' >>x.conf
systemd-tmpfiles --root="$PWD/root" --create --remove --clean "$PWD/x.conf"
test -e root/run/x/y
"""

SSH = r"""
ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f user
cp user.pub keys; chmod 600 keys; mkdir -p /run/sshd
cat >sshd_config <<END
ListenAddress 127.0.0.1:$PORT
HostKey $PWD/host
AuthorizedKeysFile $PWD/keys
PermitRootLogin yes
StrictModes no
PidFile $PWD/pid
END
/usr/sbin/sshd -D -f "$PWD/sshd_config" -E sshd.log &
trap 'kill $!' EXIT
for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; grep -q listening sshd.log && break; done
login() {
    ssh -F none -i user -p $PORT -o StrictHostKeyChecking=no -o UserKnownHostsFile="$PWD/known" root@127.0.0.1 "$@"
}
login true
login sudo -n id
login -tt 'ls /; exit' </dev/null
"""

SUDO = r"""
sudo -n id
sudo -n -u nobody sh -c 'id; ls /'
su nobody -s /bin/sh -c id
"""

CONTAINERS = r"""
mkdir rootfs
mount -t tmpfs -o size=64m tmpfs rootfs
trap 'umount rootfs/r; umount rootfs' EXIT
mkdir rootfs/u rootfs/w rootfs/r
mount -t overlay -o lowerdir=/,upperdir=rootfs/u,workdir=rootfs/w overlay rootfs/r
runc spec
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"true"/; s/"path": "rootfs"/"path": "rootfs\/r"/' config.json
for i in $(seq $COUNT); do runc run $1-$i; done
"""

DEBUGGER = r"""
printf 'int x; int main(void) { x = 1; return x - 1; }\n' >a.c; gcc -g -o a a.c
strace -f -o trace sh -c 'ls / >/dev/null'
gdb -q -nx -batch -ex 'break main' -ex run -ex 'set var x=5' -ex next -ex 'print x' -ex continue ./a
sleep 60 &
slept=$!
trap 'kill $slept' EXIT
gdb -q -nx -batch -p $slept -ex bt -ex detach
timeout 1 strace -p $slept -o trace2 || test $? = 124
"""

NODE = r"""
node -e '
function f(n) { let s = 0; for (let i = 0; i < n; i++) s += i * i % 7; return s; }
for (let i = 0; i < 300; i++) f(100000)'
"""

JAVA = r"""
cat >A.java <<'END'
class A {
    public static void main(String[] a) {
        long s = 0; for (int i = 0; i < 30000000; i++) s += i % 7; System.out.println(s);
    }
}
END
java A.java
"""

CRON = r"""
mkdir tabs; printf '* * * * * touch %s/done\n' "$PWD" >tabs/root
busybox crond -f -c "$PWD/tabs" -L "$PWD/log" &
trap 'kill $!' EXIT
for i in $(seq 75); do sleep 1; test -e done && break; done
test -e done
"""

DEBOOTSTRAP = r"""
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
suite=$(. /etc/os-release; echo $VERSION_CODENAME)
trap 'umount root/proc root/sys 2>/dev/null || true' EXIT
debootstrap --variant=minbase $suite root $mirror >out 2>&1 || { tail -5 out; exit 1; }
"""

ERRANDS = (
    Errand("dpkg", ("dpkg-deb", "useradd"), DPKG, meant=(NEW_BINARY,)),
    Errand("apt", ("apt-get", "useradd"), APT, meant=(NEW_BINARY,)),
    Errand("build", ("gcc", "make"), BUILD),
    Errand("pip", ("gcc",), PIP, meant=(NEW_LIBRARY,)),
    Errand("git", ("git",), GIT),
    Errand("logrotate", ("logrotate",), LOGROTATE),
    Errand("systemd-tmpfiles", ("systemd-tmpfiles",), TMPFILES),
    Errand("ssh", ("sshd", "ssh", "sudo"), SSH),
    Errand("sudo and su", ("sudo", "su"), SUDO),
    Errand("containers", ("runc",), CONTAINERS, host_only="runc needs cgroups of the host"),
    Errand("debugger", ("gdb", "strace", "gcc"), DEBUGGER),
    Errand("node", ("node",), NODE),
    Errand("java", ("java",), JAVA),
    Errand("cron", ("busybox",), CRON, soak=True, host_only="these containers live for a minute"),
    Errand("debootstrap", ("debootstrap",), DEBOOTSTRAP, soak=True, host_only="it fetches packages"),
)
