#!/bin/sh
# Install, update or remove the Vedette agent: vedette-install.sh install|uninstall [FOLDER]
#
# FOLDER has the one package; else it is the folder of this file. Each action may be done again, and goes on where an
# earlier try broke off. What is wrong is said in one line, and the status is not 0; 75 (sysexits.h, EX_TEMPFAIL) says: try
# again later. Configuration and state are never removed.
set -u
action=${1:-}
folder=${2:-$(dirname "$0")}

say() { printf 'vedette: %s\n' "$*" >&2; }
fail() { status=$1; shift; say "$@"; exit "$status"; }

package() { # the one package that is here
    found=
    for file in "$folder"/*.rpm; do
        [ -f "$file" ] || continue
        [ -z "$found" ] || fail 2 "more than one package in $folder: $found and $file"
        found=$file
    done
    [ -n "$found" ] || fail 2 "no package in $folder"
}

room() { # a folder, and KiB that must be free where it is, or will be
    where=$1
    while [ ! -d "$where" ]; do where=$(dirname "$where"); done
    free=$(df -Pk "$where" 2>/dev/null | sed -n '2s/.* \([0-9][0-9]*\)  *[0-9][0-9]*% .*/\1/p')
    [ "${free:-0}" -ge "$2" ] || fail 75 "$where has ${free:-0} KiB free; $2 are needed"
}

start() { # only where systemd runs: an image that is being made starts nothing
    [ -d /run/systemd/system ] || return 0
    if systemctl daemon-reload && systemctl enable vedette-agent.service; then
        systemctl restart --no-block vedette-agent.service && return 0
    fi
    say "installed, but not started: systemctl status vedette-agent"
}

install() {
    package
    name=$(rpm -qp --queryformat '%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}' "$found" 2>/dev/null) || fail 2 "$found is damaged"
    force=
    if rpm -q "$name" >/dev/null 2>&1; then
        # An earlier try may have been broken off when the database said more than the disk holds.
        if ! rpm -V --nodeps --nomtime "$name" 2>/dev/null | grep -v ' c /' | grep -q .; then
            say "$name is installed already"
            return 0
        fi
        say "$name is installed, but not whole; once more"
        force=--force
    fi
    # shellcheck disable=SC2086  # nothing, or one word
    rpm --upgrade $force "$found" && return 0
    command -v dnf >/dev/null 2>&1 || fail 75 "rpm could not install $found, and there is no dnf to fetch what it needs"
    say "asking dnf for what is missing"
    dnf install --assumeyes --setopt=install_weak_deps=False "$found" || fail 75 "dnf could not install $found"
}

[ "$(id -u)" = 0 ] || fail 77 "only root can do this"
command -v rpm >/dev/null 2>&1 || fail 2 "this host has no rpm"
case $action in
    install)
        room /opt/vedette 204800
        room /var/lib/vedette 65536
        install
        start
        ;;
    uninstall)
        if rpm -q vedette >/dev/null 2>&1; then
            rpm --erase vedette || fail 75 "rpm could not remove vedette"
        else
            say "not installed"
        fi
        ;;
    *) fail 2 "install or uninstall, not '$action'" ;;
esac
