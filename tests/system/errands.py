"""Ordinary work: what administrators, builders and services do all day, as scripts that are really run.

Each runs in a directory of its own, $1 being a word that no file of this host has in its name.  What it puts outside
of that directory it takes away again.
"""

from __future__ import annotations

import shutil
from typing import NamedTuple

NEW_BINARY = "Execution:Runtime/NewBinaryExecuted"
NEW_LIBRARY = "Execution:Runtime/NewLibraryLoaded"
FILES = "Persistence:Runtime/SensitiveFileModified"
RIGHTS = "PrivilegeEscalation:Runtime/SensitiveFileModified"
COMMANDS = "Persistence:Runtime/SuspiciousCommand"
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
printf '* * * * * root touch %s/done\n' "$PWD" >/etc/cron.d/$1
chmod 644 /etc/cron.d/$1
cron -f 2>/dev/null &
trap "rm /etc/cron.d/$1; kill $! || true" EXIT
for i in $(seq 125); do sleep 1; test -e done && break; done
test -e done
"""

DEBOOTSTRAP = r"""
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
suite=$(. /etc/os-release; echo $VERSION_CODENAME)
trap 'umount root/proc root/sys 2>/dev/null || true' EXIT
debootstrap --variant=minbase $suite root $mirror >out 2>&1 || { tail -5 out; exit 1; }
"""

PODMAN = r"""
mkdir rootfs
mount -t tmpfs -o size=64m tmpfs rootfs
undo() {
    umount -l rootfs/r rootfs
    rmdir /sys/fs/cgroup/*/libpod_parent/conmon /sys/fs/cgroup/*/libpod_parent 2>/dev/null || true
}
trap undo EXIT
mkdir rootfs/u rootfs/w rootfs/r
mount -t overlay -o lowerdir=/,upperdir=rootfs/u,workdir=rootfs/w overlay rootfs/r
engine() {
    podman --root "$PWD/store" --runroot "$PWD/run" --tmpdir "$PWD/tmp" --network-config-dir "$PWD/net" \
        --storage-driver vfs --runtime runc --cgroup-manager cgroupfs --events-backend none "$@"
}
for i in $(seq $COUNT); do
    engine run --detach --name $1-$i --network none --log-driver none --ulimit nofile=1024:1024 \
        --ulimit nproc=1024:1024 --rootfs "$PWD/rootfs/r" sleep 60
    engine exec $1-$i id
    engine stop --time 0 $1-$i
    engine rm $1-$i
done
"""

BUILDAH = r"""
engine() { buildah --root "$PWD/store" --runroot "$PWD/run" --storage-driver vfs "$@"; }
trap 'engine rm --all' EXIT
container=$(engine from scratch)
mkdir -p image/bin image/lib64 image/etc
cp /bin/dash image/bin/sh
cp /bin/true image/bin/true
for file in $(ldd /bin/dash | grep -o '/[^ ]*'); do mkdir -p image/$(dirname $file); cp $file image/$file; done
printf 'root:x:0:0:root:/:/bin/sh\n' >image/etc/passwd
printf 'echo x:x:9:9::/:/bin/sh >>/etc/passwd\n/bin/true\n' >image/bin/setup
engine copy $container image /
engine run --isolation chroot $container -- /bin/sh /bin/setup
engine config --cmd /bin/true $container
engine commit --quiet $container $1
"""

RPM = r"""
tree=$PWD/tree
mkdir -p tree/usr/lib/$1 tree/etc/cron.d tree/usr/lib/systemd/system tree/etc/sudoers.d
cp /bin/true tree/usr/lib/$1/program
printf '# 0 0 * * * root /usr/lib/%s/program\n' $1 >tree/etc/cron.d/$1
printf '[Service]\nExecStart=/usr/lib/%s/program\n' $1 >tree/usr/lib/systemd/system/$1.service
cat >$1.spec <<END
%define _build_id_links none
%define __strip /bin/true
Name: $1
Version: 1
Release: 1
Summary: x
License: x
AutoReqProv: no
%description
x
%install
cp -a $tree/. %{buildroot}
%files
/usr/lib/$1/program
/etc/cron.d/$1
/usr/lib/systemd/system/$1.service
%post -p /bin/sh
useradd --system --no-create-home --shell /usr/sbin/nologin $1
/usr/lib/$1/program
/sbin/ldconfig
%postun -p /bin/sh
userdel $1
END
rpmbuild -bb --quiet --define "_topdir $PWD/build" --define "_rpmdir $PWD/rpms" $1.spec
rpm --dbpath "$PWD/db" --initdb
trap 'rpm --dbpath "$PWD/db" --nodeps -e $1' EXIT
rpm --dbpath "$PWD/db" --nodeps -i rpms/*/$1-1-1.*.rpm
/usr/lib/$1/program
"""

DNF = r"""
tree=$PWD/tree
mkdir -p tree/bin tree/etc/cron.d tree/usr/lib/$1 tree/usr/lib/systemd/system
cp /bin/dash tree/bin/sh
cp /bin/true tree/usr/lib/$1/program
for file in $(ldd /bin/dash | grep -o '/[^ ]*'); do mkdir -p tree/$(dirname $file); cp $file tree/$file; done
printf 'root:x:0:0:root:/:/bin/sh\n' >tree/etc/passwd
printf '# 0 0 * * * root /usr/lib/%s/program\n' $1 >tree/etc/cron.d/$1
printf '[Service]\nExecStart=/usr/lib/%s/program\n' $1 >tree/usr/lib/systemd/system/$1.service
cat >$1.spec <<END
%define _build_id_links none
%define __strip /bin/true
Name: $1
Version: 1
Release: 1
Summary: x
License: x
AutoReqProv: no
Provides: /bin/sh
%description
x
%install
cp -a $tree/. %{buildroot}
%files
/*
%post -p /bin/sh
echo "$1:x:900:900::/:/bin/sh" >>/etc/passwd
/usr/lib/$1/program
END
rpmbuild -bb --quiet --define "_topdir $PWD/build" --define "_rpmdir $PWD/rpms" $1.spec
mkdir root log cache repos
packages() {
    dnf --quiet --assumeyes --releasever 1 --disablerepo '*' --setopt cachedir="$PWD/cache" --setopt logdir="$PWD/log" \
        --setopt reposdir="$PWD/repos" --installroot "$PWD/root" "$@"
}
packages install "$PWD"/rpms/*/$1-1-1.*.rpm
grep -q $1 root/etc/passwd
packages remove $1 || true
"""

MMDEBSTRAP = r"""
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
suite=$(. /etc/os-release; echo $VERSION_CODENAME)
mmdebstrap --quiet --mode=root --variant=essential $suite root $mirror >out 2>&1 || { tail -5 out; exit 1; }
"""

BACKUP = r"""
export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$PWD/cache BORG_BASE_DIR=$PWD/borgbase BORG_PASSPHRASE=x
export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
restic --quiet --repo restic init
restic --quiet --repo restic backup /etc /root/.ssh /var/spool/cron 2>/dev/null || test $? = 3
restic --quiet --repo restic restore latest --target restored
borg init --encryption none borg
borg create borg::1 /etc 2>/dev/null || test $? = 1
mkdir extracted; cd extracted; borg extract ../borg::1; cd ..
rsync -a /etc/ copied/
rsync -a --delete copied/ copied2/
tar -czf etc.tar.gz /etc 2>/dev/null
mkdir untarred; tar -xzf etc.tar.gz -C untarred
"""

RESOLVERS = r"""
cat >ask.py <<'END'
import socket, struct, sys
port = int(sys.argv[1])
for i in range(20):
    name = f"host-{i}.example.test"
    question = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.settimeout(5)
    asked.sendto(struct.pack(">HHHHHH", i, 0x100, 1, 0, 0, 0) + question, ("127.0.0.1", port))
    answer = asked.recv(512)
    assert struct.unpack(">H", answer[6:8]) == (1,), answer
END
dnsmasq --keep-in-foreground --conf-file=/dev/null --port=$PORT --listen-address=127.0.0.1 --bind-interfaces \
    --no-resolv --no-hosts --user=root --pid-file= --address=/example.test/127.0.0.9 &
resolver=$!
trap 'kill $resolver' EXIT
sleep 1
python3 ask.py $PORT
kill $resolver; wait $resolver || true
cat >unbound.conf <<END
server:
  interface: 127.0.0.1@$PORT
  chroot: ""
  username: ""
  directory: "$PWD"
  pidfile: "$PWD/pid"
  use-syslog: no
  do-daemonize: no
  local-zone: "example.test." redirect
  local-data: "example.test. A 127.0.0.9"
remote-control:
  control-enable: no
END
unbound -d -c "$PWD/unbound.conf" 2>log &
resolver=$!
sleep 1
python3 ask.py $PORT
"""

LUAJIT = r"""
luajit -e 'local s = 0; for i = 1, 3e8 do s = s + i % 7 end; print(s)'
"""

MONITORING = r"""
prometheus-node-exporter --web.listen-address=127.0.0.1:$PORT 2>log &
trap 'kill $!' EXIT
sleep 1
python3 -c 'import sys, urllib.request; print(len(urllib.request.urlopen(sys.argv[1]).read()))' \
    http://127.0.0.1:$PORT/metrics
"""

ANSIBLE = r"""
export HOME=$PWD ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_RETRY_FILES_ENABLED=false
cat >play.yml <<END
- hosts: localhost
  connection: local
  gather_facts: true
  tasks:
    - user: {name: $1, system: true, create_home: false, shell: /usr/sbin/nologin}
    - copy: {dest: /etc/cron.d/$1, content: "# 0 0 * * * root true\n", mode: "0644"}
    - copy: {dest: /etc/sudoers.d/$1, content: "# nothing\n", mode: "0440"}
    - copy: {dest: /etc/systemd/system/$1.service, content: "[Service]\nExecStart=/bin/true\n"}
    - copy: {dest: /etc/profile.d/$1.sh, content: "# nothing\n"}
    - lineinfile: {path: /etc/profile.d/$1.sh, line: "# a line"}
    - command: id
    - shell: "ls / | wc -l"
END
undo() { rm -f /etc/cron.d/$1 /etc/sudoers.d/$1 /etc/systemd/system/$1.service /etc/profile.d/$1.sh; userdel $1; }
trap "undo $1" EXIT
ansible-playbook -i localhost, play.yml
"""

DAY = r"""
undo() {
    rm -f /etc/cron.d/$1 /etc/profile.d/$1.sh /etc/logrotate.d/$1 /etc/systemd/system/$1.service /usr/local/bin/$1
    rm -f /etc/sudoers.d/$1 /etc/systemd/system/multi-user.target.wants/$1.service
    rm -f /var/spool/cron/crontabs/$1
    userdel -r $1 2>/dev/null || true
}
trap "undo $1" EXIT
# Somebody logs in, looks around, and sets up a user and a service.
uptime; who || true; df -h >/dev/null; free >/dev/null; ps aux >/dev/null; ss -tlnp >/dev/null || true
dmesg >/dev/null 2>&1 || true; hostname; cat /etc/os-release >/dev/null
id; last >/dev/null 2>&1 || true; ip addr >/dev/null; mount >/dev/null
find /etc -name '*.conf' >/dev/null; grep -r PermitRootLogin /etc/ssh >/dev/null || true
useradd --create-home --home-dir "$PWD/home" --shell /bin/bash $1
echo "$1:a-long-passphrase" | chpasswd
usermod --append --groups adm $1
mkdir -m 700 home/.ssh; ssh-keygen -q -t ed25519 -N '' -f home/.ssh/id_ed25519
cat home/.ssh/id_ed25519.pub >>home/.ssh/authorized_keys; chmod 600 home/.ssh/authorized_keys; chown -R $1 home
printf '%s ALL=(root) NOPASSWD: /usr/bin/true\n' $1 >/etc/sudoers.d/$1
chmod 440 /etc/sudoers.d/$1; visudo -c >/dev/null || true
su - $1 -c 'sudo -n true; mkdir -p app; echo hello >app/x'
printf '#!/bin/sh\nexec sleep 1\n' >/usr/local/bin/$1; chmod 755 /usr/local/bin/$1
printf '[Service]\nExecStart=/usr/local/bin/%s\n[Install]\nWantedBy=multi-user.target\n' $1 >$1.service
cp $1.service /etc/systemd/system/
systemctl enable $1.service || ln -sf /etc/systemd/system/$1.service /etc/systemd/system/multi-user.target.wants/
printf '17 3 * * * root /usr/local/bin/%s\n' $1 >/etc/cron.d/$1
printf '%s/log/*.log {\n weekly\n}\n' "$PWD" >/etc/logrotate.d/$1
printf 'export EDITOR=vi\n' >/etc/profile.d/$1.sh
sed -i s/vi/vim/ /etc/profile.d/$1.sh
cp /etc/profile.d/$1.sh /etc/profile.d/$1.sh.bak; mv /etc/profile.d/$1.sh.bak /etc/profile.d/$1.sh
# A certificate, a web server that is asked and stopped, an archive, a checksum, a script by curl from the own server.
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout key.pem -out cert.pem -days 2 2>/dev/null
mkdir www; echo hello >www/index.html; printf '#!/bin/sh\necho installed\n' >www/setup.sh
tar -cf www/app.tar /etc/profile.d
python3 -m http.server --bind 127.0.0.1 --directory www $PORT 2>weblog &
web=$!
sleep 1
fetch() { curl -sSf "$@" || busybox wget -q -O - "$1"; }
fetch http://127.0.0.1:$PORT/index.html
fetch http://127.0.0.1:$PORT/app.tar >app.tar; mkdir app; tar -xf app.tar -C app; sha256sum app.tar; gzip -k app.tar
fetch http://127.0.0.1:$PORT/setup.sh >setup.sh
# In a container a script that is new is a finding of its own, and company for what was done beside it.
test -e /srv/work || { sh setup.sh; /usr/local/bin/$1; }
kill $web
# A virtual environment with a program, a database, a loop of a shell, secrets, a mount, a kill.
python3 -m venv --without-pip env
env/bin/python -c 'import json, sqlite3, ssl; sqlite3.connect("x.db").execute("create table t(x)")'
for i in 1 2 3 4 5; do date +%s >>heartbeat; sleep 0.1; done
head -c 32 /dev/urandom | base64 >secret; echo aGVsbG8K | base64 -d
mkdir mnt; mount -t tmpfs tmpfs mnt && umount mnt || true
sleep 100 & kill -9 $!
nice -n 5 true; timeout 1 sleep 5 || true; nohup true >/dev/null 2>&1; xargs -n 1 echo <cert.pem >/dev/null
awk 'BEGIN { print 1 }'; perl -e 'print 1'; python3 -c 'import os; os.system("true")'
ln -sf cert.pem current.pem; install -m 755 /bin/true tool; chmod u+x tool; mktemp -d -p . >/dev/null
cp /bin/ls mine; chmod 750 mine
logger -t $1 hello 2>/dev/null || true
crontab -l 2>/dev/null || true
(crontab -u $1 -l 2>/dev/null; echo '0 4 * * * true') | crontab -u $1 -
history -c 2>/dev/null || true
bash -ic 'true' 2>/dev/null || true
script -qc 'ls /' typescript >/dev/null || true
systemctl disable $1.service || true
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
    Errand("cron", ("cron",), CRON, soak=True),
    Errand("podman", ("podman", "runc"), PODMAN, host_only="runc needs cgroups of the host"),
    Errand("buildah", ("buildah",), BUILDAH, soak=True, host_only="it mounts"),
    Errand("rpm", ("rpm", "rpmbuild", "useradd"), RPM, meant=(NEW_BINARY,), soak=True),
    Errand("dnf into a tree", ("dnf", "rpmbuild"), DNF, meant=(NEW_BINARY, NEW_LIBRARY, FILES), soak=True),
    Errand("mmdebstrap", ("mmdebstrap",), MMDEBSTRAP, soak=True, host_only="it fetches packages"),
    Errand("backup", ("restic", "borg", "rsync"), BACKUP, soak=True),
    Errand("resolvers", ("dnsmasq", "unbound"), RESOLVERS, soak=True),
    Errand("luajit", ("luajit",), LUAJIT, soak=True),
    Errand("monitoring", ("prometheus-node-exporter",), MONITORING, soak=True),
    Errand("ansible", ("ansible-playbook",), ANSIBLE, meant=(NEW_BINARY, FILES, RIGHTS, COMMANDS), soak=True),
    Errand("a day", ("python3", "openssl", "ssh-keygen"), DAY, soak=True),
    Errand("debootstrap", ("debootstrap",), DEBOOTSTRAP, soak=True, host_only="it fetches packages"),
)
