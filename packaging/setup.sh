#!/usr/bin/env bash
# Make this checkout ready to run and to test: system packages, .venv, protobuf code.
#
# Safe to run again: what is there is left alone, and the second run takes well under a second. Nothing is
# installed from the system's packages unless one of them is missing. With `soak`, also what the longest tests want.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Two runs at the same moment would install over each other.
exec 9<packaging/setup.sh
flock 9

say() { printf 'setup: %s\n' "$*" >&2; }

# What the product needs of the system: bcc's Python and libbpf. The rest is for the tests: containers, network
# namespaces, the C compiler that checks record layouts. `a|b`: the first one that this release has.
packages=(
    python3-bpfcc 'libbpf1|libbpf0'
    'bpftool|linux-tools-common' busybox conmon containerd curl debootstrap gcc gdb git gnupg iproute2 libc6-dev libcap2-bin logrotate
    make mmdebstrap ncat nftables openssh-client perl podman procps rpm runc shellcheck socat strace sudo systemd
    umoci util-linux 'kubectl|kubernetes-client'
)
# Servers that start by themselves where systemd does: nobody who wants to run tests asked for an open port 22,
# or for a database. Tests that want them skip there, and say so.
[ -d /run/systemd/system ] || packages+=(cron openssh-server postgresql)

# What ordinary work is done with in make soak, beside these (packaging/setup.sh soak).
ordinary=(
    ansible-core borgbackup buildah busybox cron debootstrap default-jdk-headless dnf dnsmasq luajit mmdebstrap nodejs
    openssh-server podman prometheus-node-exporter restic rpm rsync sudo unbound
)

[ -d /run/systemd/system ] || ordinary+=(docker.io)  # its daemon starts there by itself, and rules of a firewall with it

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

any_installed() {
    local name
    for name in ${1//|/ }; do
        is_installed "$name" && return 0
    done
    return 1
}

first_available() {
    local name
    for name in ${1//|/ }; do
        if apt-cache show "$name" >/dev/null 2>&1; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    printf '%s\n' "${1%%|*}"
}

# Installs those of its arguments that are missing.
install_packages() {
    local entry missing=() chosen=()
    for entry in "$@"; do
        any_installed "$entry" || missing+=("$entry")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here; install these by hand: ${missing[*]}"
        return 0
    fi
    as_root apt-get update -qq
    for entry in "${missing[@]}"; do
        chosen+=("$(first_available "$entry")")
    done
    say "installing system packages: ${chosen[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${chosen[@]}" >/dev/null
}

is_good_python() {
    "$1" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints the first Python that is 3.11 or newer and can make virtual environments.
find_python() {
    local candidate
    for candidate in python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do
        if command -v "$candidate" >/dev/null && is_good_python "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

make_venv() {
    local python
    [ -x .venv/bin/python ] && is_good_python .venv/bin/python && return 0
    if ! python=$(find_python); then
        # Debian 12 and newer: python3 is new enough; Ubuntu 22.04 has 3.11 beside its 3.10.
        install_packages python3-venv
        python=$(find_python) || { install_packages python3.11-venv && python=$(find_python); } || {
            say "no Python 3.11 or newer with venv found; install one and run make setup again"
            exit 2
        }
    fi
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
}

# Names what an installation was made from; another content needs another installation.
fingerprint() {
    { .venv/bin/python --version && cat pyproject.toml setup.py proto/generate.py proto/vedette/v1/*.proto; } | sha256sum
}

is_current() {
    [ -x .venv/bin/vedette ] && [ -e _proto/vedette/v1/__init__.py ] &&
        [ "$(cat .venv/setup.sha256 2>/dev/null)" = "$(fingerprint)" ]
}

install_packages "${packages[@]}"
[ "${1:-}" != soak ] || install_packages "${ordinary[@]}"
make_venv
if is_current; then
    exit 0
fi
say "installing vedette and what it needs into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
fingerprint >.venv/setup.sha256
say "done: .venv/bin/vedette"
