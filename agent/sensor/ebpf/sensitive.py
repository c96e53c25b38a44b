"""Sensitive files: whose every open is told, though it only reads, and the kernel's tables of them.

PARENT/LEAF are the last two names of a path as the file system has them; `*` is any.
What is read all day long by good programs (`/etc/passwd`) is not told for being read:
it is marked when it is written, and so never throttled.

Sources: the credentials that MITRE ATT&CK T1552.001, T1552.004 and T1003.007/.008 name;
the files behind GuardDuty's SensitiveFileModified (agent/findings/sensitive/*.toml, to which
tests/unit/findings/test_sensitive_files.py holds this list), CGroupsReleaseAgentModified and
RuncContainerEscape.  docker.sock is a socket, which cannot be opened: see unix_connect.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

ANY = "*"
READ = (
    "etc/shadow",
    "etc/shadow-",
    "etc/gshadow",
    "etc/gshadow-",
    "security/opasswd",
    ".ssh/id_rsa",
    ".ssh/id_dsa",
    ".ssh/id_ecdsa",
    ".ssh/id_ed25519",
    "ssh/ssh_host_rsa_key",
    "ssh/ssh_host_ecdsa_key",
    "ssh/ssh_host_ed25519_key",
    ".aws/credentials",
    ".azure/msal_token_cache.json",
    "gcloud/credentials.db",
    "gcloud/application_default_credentials.json",
    ".docker/config.json",
    ".kube/config",
    "*/.git-credentials",
    "*/.netrc",
    "*/.pgpass",
    "*/token",  # of a Kubernetes service account; its directory is called after the time it was made
    "kubelet/kubeconfig",
    "kubernetes/kubelet.conf",
    "kubernetes/admin.conf",
    "pki/ca.key",
)
"""Told when they are opened in any way."""
WRITTEN = (
    "etc/passwd",
    "etc/group",
    "etc/sudoers",
    "sudoers.d/*",
    "pam.d/*",
    "etc/ld.so.preload",
    "ssh/sshd_config",
    ".ssh/authorized_keys",
    ".ssh/authorized_keys2",
    "etc/crontab",
    "crontabs/*",
    "cron.d/*",
    "cron.hourly/*",
    "cron.daily/*",
    "init.d/*",
    "etc/profile",
    "profile.d/*",
    "etc/rc.local",
    "*/.bashrc",
    "*/.bash_profile",
    "*/.profile",
    "*/.zshrc",
    "audit/auditd.conf",
    "rules.d/*",
    ".ssh/rc",
    ".ssh/environment",
    "authorized_keys/*",
    "sshd_config.d/*",
    "ssh/sshrc",
    "ssh/trusted_user_ca_keys",
    "*/.bash_login",
    "*/.bash_logout",
    "*/.zshenv",
    "*/.zprofile",
    "*/.zlogin",
    "*/.kshrc",
    "*/.cshrc",
    "*/.tcshrc",
    "fish/config.fish",
    "etc/bash.bashrc",
    "etc/bashrc",
    "etc/zshrc",
    "etc/zshenv",
    "zsh/*",
    "etc/csh.cshrc",
    "etc/environment",
    "skel/*",
    "etc/subuid",
    "etc/subgid",
    "etc/shells",
    "etc/anacrontab",
    "cron.weekly/*",
    "cron.monthly/*",
    "etc/cron.allow",
    "etc/at.allow",
    "cron/*",
    "at/*",
    "atjobs/*",
    "system/*",
    "user/*",
    "system-generators/*",
    "rc.d/*",
    "local.d/*",
    "etc/inittab",
    "init/*",
    "etc/modules",
    "modules-load.d/*",
    "modprobe.d/*",
    "dracut.conf.d/*",
    "etc/ld.so.conf",
    "ld.so.conf.d/*",
    "update-motd.d/*",
    "Xsession.d/*",
    "xinitrc.d/*",
    "autostart/*",
    "*/.xinitrc",
    "*/.xprofile",
    "*/.xsession",
    "apt.conf.d/*",
    "dpkg.cfg.d/*",
    "pluginconf.d/*",
    "dispatcher.d/*",
    "if-up.d/*",
    "if-pre-up.d/*",
    "dhclient-exit-hooks.d/*",
    "dhclient-enter-hooks.d/*",
    "etc/sudo.conf",
    "etc/sudo-ldap.conf",
    "etc/doas.conf",
    "doas.d/*",
    "etc/pam.conf",
    "security/*",
    "pam-configs/*",
    "authselect/*",
    "etc/login.defs",
    "etc/securetty",
    "etc/login.access",
    "default/useradd",
    "localauthority/*",
    "system.d/*",
    "etc/nslcd.conf",
    "sssd/sssd.conf",
    "conf.d/*",
    "etc/krb5.conf",
    "krb5.conf.d/*",
    "etc/krb5.keytab",
    "*/.k5login",
    "run/utmp",
    "log/*",
    "audit/*",
    "apache2/*",
    "httpd/*",
    "nginx/*",
    "exim4/*",
    "amazon/*",
    "plugins.d/*",
    "audisp/*",
    "etc/libaudit.conf",
    "etc/rsyslog.conf",
    "rsyslog.d/*",
    "etc/syslog.conf",
    "syslog-ng/*",
    "systemd/journald.conf",
    "journald.conf.d/*",
    "systemd/journal-upload.conf",
    "logrotate.d/*",
    "amazon-cloudwatch-agent/*",
    "*/.bash_history",
    "*/.zsh_history",
    "*/.zhistory",
    "*/.histfile",
    "*/.history",
    "*/.sh_history",
    "*/.ash_history",
    "*/.python_history",
    "*/.mysql_history",
    "*/.psql_history",
    "fish/fish_history",
    "selinux/*",
    "apparmor.d/*",
    "apparmor/*",
    "fail2ban/*",
    "fapolicyd/*",
    "iptables/*",
    "sysconfig/iptables",
    "sysconfig/ip6tables",
    "etc/nftables.conf",
    "nftables/*",
    "ufw/*",
    "firewalld/*",
    "etc/hosts.allow",
    "etc/hosts.deny",
    "kernel/core_pattern",
    "kernel/modprobe",
)
"""Marked when they are opened for writing."""
PROCESS_MEMORY = "*/mem"
RELEASE_AGENT = "*/release_agent"
"""Of cgroup v1: marked when it is opened for writing there."""
PROC_SUPER_MAGIC = 0x9FA0  # include/uapi/linux/magic.h
CGROUP_SUPER_MAGIC = 0x27E0EB  # include/uapi/linux/magic.h

_NAME_BYTES = 48  # LISTED_NAME_BYTES, ebpf/prelude_opens.c
_KEY = struct.Struct(f"={_NAME_BYTES}s{_NAME_BYTES}s")
_VALUE = struct.Struct("=II")


class Listed(NamedTuple):
    """One entry; an empty name is any."""

    parent: bytes
    leaf: bytes
    magic: int = 0
    """The file system it counts on; 0 for any."""
    only_written: bool = False


def listed(more: Iterable[str] = ()) -> list[Listed]:
    """Return all there is, `more` among it; a whole directory's files count when they are written."""
    entries = [_listed(name) for name in READ]
    entries += [_listed(name, only_written=True) for name in WRITTEN]
    entries.append(_listed(PROCESS_MEMORY, magic=PROC_SUPER_MAGIC))
    entries.append(_listed(RELEASE_AGENT, magic=CGROUP_SUPER_MAGIC, only_written=True))
    return entries + [_listed(name, only_written=name.endswith(f"/{ANY}")) for name in more]


def tables(more: Iterable[str] = ()) -> dict[str, dict[bytes, bytes]]:
    """Return what is to be written into the kernel's maps, by their names."""
    entries = listed(more)
    files = {_KEY.pack(entry.parent, entry.leaf): _VALUE.pack(entry.magic, entry.only_written) for entry in entries}
    lengths: dict[int, int] = {}
    for entry in entries:
        row, name = (len(entry.leaf), entry.leaf) if entry.leaf else (_NAME_BYTES + len(entry.parent), entry.parent)
        lengths[row] = lengths.get(row, 0) | 1 << (name[0] & 63)
    rows = {struct.pack("=I", row): struct.pack("=Q", firsts) for row, firsts in lengths.items()}
    return {"sensitive_files": files, "sensitive_lengths": rows}


def _listed(name: str, *, magic: int = 0, only_written: bool = False) -> Listed:
    parent, leaf = (b"" if part == ANY else part.encode() for part in name.split("/"))
    return Listed(parent, leaf, magic, only_written)
