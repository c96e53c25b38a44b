# What the RPMs and the Debian packages have in common, sourced by the build.sh of each: options, and the files as
# they will lie on a host. Wheels are taken by the versions and hashes of the two lock files beside this script, so that
# what is packed is what was chosen; the installation needs no network. For another Python or architecture than this
# machine's the wheels are fetched, checked and packed, not run.
# shellcheck shell=bash disable=SC2034  # key and release are for who sources this

say() { printf '%s: %s\n' "$kind" "$*" >&2; }
refuse() { printf 'build.sh: %s\n' "$*" >&2 && exit 2; }

# options KIND ARGUMENTS: sets python, arch, out, key, release and only, and what a build that can be repeated needs.
options() {
    kind=$1
    shift
    python=3.11 arch=$(uname -m) out=dist key='' release=1 only=''
    while [ $# -gt 0 ]; do
        case $1 in
            --python) python=$2 ;;
            --arch) arch=$2 ;;
            --out) out=$2 ;;
            --key) key=$2 ;;
            --release) release=$2 ;;
            --only) only=$2 ;;
            *) refuse "unknown option $1; it takes --python, --arch, --out, --key, --release, --only" ;;
        esac
        shift 2
    done
    case $arch in x86_64 | aarch64) ;; *) refuse "--arch is x86_64 or aarch64, not $arch" ;; esac
    case $python in 3.1[1-9]) ;; *) refuse "--python is 3.11 or newer, not $python" ;; esac
    case $only in '' | agent) ;; *) refuse "--only is agent, not $only" ;; esac
    version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' agent/version.py)
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
    export SOURCE_DATE_EPOCH PYTHONHASHSEED=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
    work=$(mktemp -d)
    root=$work/root
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$out" "$work/wheels" "$work/own"
}

# lay compiled|bare: lays the private environment below $root/opt/vedette, with compiled Python or without.
# $work/agent.files and $work/collector.files say whose each part is.
lay() {
    local foreign glibc tag site=opt/vedette/lib/python$python/site-packages
    # Wheels for the oldest system that is supported: glibc 2.34 of Amazon Linux 2023 and RHEL 9.
    foreign=(--only-binary :all: --python-version "$python" --implementation cp)
    for glibc in 2_34 2_28 2_26 2_24 2_17 2014; do
        case $glibc in 2014) tag=manylinux2014_$arch ;; *) tag=manylinux_${glibc}_$arch ;; esac
        foreign+=(--platform "$tag")
    done
    umask 022 # whoever builds: the collector and people who ask are not root
    say "fetching wheels for Python $python on $arch"
    .venv/bin/pip download --quiet --require-hashes --no-deps "${foreign[@]}" -d "$work/wheels" -r "packaging/rpm/${only:-collector}.lock"
    say "building vedette $version"
    git ls-files -z --cached | tar --null --files-from - --ignore-failed-read -cf - 2>/dev/null | tar -xf - -C "$work/own"
    .venv/bin/pip wheel --quiet --no-deps --wheel-dir "$work/wheels" "$work/own"

    say "laying out"
    install -d "$root/opt/vedette/bin" "$root/$site"
    .venv/bin/pip install --quiet --no-index --no-deps --no-compile "${foreign[@]}" --target "$root/$site" "$work"/wheels/*.whl
    rm -rf "${root:?}/$site/bin"
    find "$root/$site" -type f -exec chmod 644 {} + # modules and libraries, some of which their publishers made programs
    .venv/bin/python packaging/rpm/layout.py "$root" "$site" "$python" \
        <(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' packaging/rpm/agent.lock) "$1"
    printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$python" >"$root/opt/vedette/pyvenv.cfg"
    ln -s "/usr/bin/python$python" "$root/opt/vedette/bin/python"
    install -m 755 packaging/rpm/vedette "$root/opt/vedette/bin/vedette"
}

# furnish ZSH: lays what systemd, shells and readers of manuals look for; ZSH is the directory of its completions.
furnish() {
    local shell unitdir=$root/usr/lib/systemd/system
    install -d "$root/usr/bin"
    ln -s ../../opt/vedette/bin/vedette "$root/usr/bin/vedette"
    install -D -m 644 -t "$unitdir" systemd/vedette-agent.service
    install -D -m 755 -t "$root/usr/lib/systemd/system-generators" systemd/vedette-limits
    install -D -m 600 -t "$root/etc/vedette" packaging/etc/agent.toml
    install -D -m 644 packaging/man/vedette.1 "$root/usr/share/man/man1/vedette.1"
    gzip -9n "$root/usr/share/man/man1/vedette.1"
    for shell in bash zsh fish; do
        _VEDETTE_COMPLETE=${shell}_source .venv/bin/vedette >"$work/vedette.$shell"
        grep -q "_VEDETTE_COMPLETE=${shell}_complete" "$work/vedette.$shell" || refuse "vedette gave no script for $shell"
    done
    install -D -m 644 "$work/vedette.bash" "$root/usr/share/bash-completion/completions/vedette"
    install -D -m 644 "$work/vedette.zsh" "$root/$1/_vedette"
    install -D -m 644 "$work/vedette.fish" "$root/usr/share/fish/vendor_completions.d/vedette.fish"
    [ -z "$only" ] || return 0
    install -D -m 644 -t "$unitdir" systemd/vedette-collector.service
    install -D -m 644 systemd/agent-beside-collector.conf "$unitdir/vedette-agent.service.d/10-collector.conf"
    install -D -m 644 systemd/sysusers.conf "$root/usr/lib/sysusers.d/vedette-collector.conf"
    install -D -m 640 -t "$root/etc/vedette" packaging/etc/collector.toml
}
