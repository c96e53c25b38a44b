#!/usr/bin/env bash
# Build the RPMs into dist/: packaging/rpm/build.sh [--python 3.11] [--arch x86_64] [--out dist] [--key GPGNAME]
#                                             [--release 1] [--only agent]
#
# Wheels are taken by the versions and hashes of the two lock files beside this script, so that what is packed is what
# was chosen; the installation needs no network. For another Python or architecture than this machine's the wheels are
# fetched, checked and packed, not run.
#
# Two builds of one commit give the same packages, bit by bit: times are the commit's, and nothing of this machine is in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=3.11 arch=$(uname -m) out=dist key= release=1 only=
while [ $# -gt 0 ]; do
    case $1 in
        --python) python=$2 ;;
        --arch) arch=$2 ;;
        --out) out=$2 ;;
        --key) key=$2 ;;
        --release) release=$2 ;;
        --only) only=$2 ;;
        *) printf 'build.sh: unknown option %s; it takes --python, --arch, --out, --key, --release, --only\n' "$1" >&2 && exit 2 ;;
    esac
    shift 2
done
case $arch in x86_64 | aarch64) ;; *) printf 'build.sh: --arch is x86_64 or aarch64, not %s\n' "$arch" >&2 && exit 2 ;; esac
case $python in 3.1[1-9]) ;; *) printf 'build.sh: --python is 3.11 or newer, not %s\n' "$python" >&2 && exit 2 ;; esac
case $only in '' | agent) ;; *) printf 'build.sh: --only is agent, not %s\n' "$only" >&2 && exit 2 ;; esac
command -v rpmbuild >/dev/null || { printf 'build.sh: rpmbuild is not installed (package rpm or rpm-build)\n' >&2 && exit 2; }

say() { printf 'rpm: %s\n' "$*" >&2; }

version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' agent/version.py)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/wheels" "$work/own" "$work/top"

# Wheels for the oldest system that is supported: glibc 2.34 of Amazon Linux 2023 and RHEL 9.
foreign=(--only-binary :all: --python-version "$python" --implementation cp)
for glibc in 2_34 2_28 2_26 2_24 2_17 2014; do
    case $glibc in 2014) tag=manylinux2014_$arch ;; *) tag=manylinux_${glibc}_$arch ;; esac
    foreign+=(--platform "$tag")
done
say "fetching wheels for Python $python on $arch"
.venv/bin/pip download --quiet --require-hashes --no-deps "${foreign[@]}" -d "$work/wheels" -r "packaging/rpm/${only:-collector}.lock"
say "building vedette $version"
git ls-files -z --cached | tar --null --files-from - --ignore-failed-read -cf - 2>/dev/null | tar -xf - -C "$work/own"
.venv/bin/pip wheel --quiet --no-deps --wheel-dir "$work/wheels" "$work/own"

say "laying out"
root=$work/root site=opt/vedette/lib/python$python/site-packages
install -d "$root/opt/vedette/bin" "$root/$site"
names() { sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' "$1"; }
.venv/bin/pip install --quiet --no-index --no-deps --no-compile "${foreign[@]}" --target "$root/$site" "$work"/wheels/*.whl
rm -rf "$root/$site/bin"
.venv/bin/python packaging/rpm/layout.py "$root" "$site" "$python" <(names packaging/rpm/agent.lock)
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$python" >"$root/opt/vedette/pyvenv.cfg"
ln -s "/usr/bin/python$python" "$root/opt/vedette/bin/python"
install -m 755 packaging/rpm/vedette "$root/opt/vedette/bin/vedette"
for shell in bash zsh fish; do
    _VEDETTE_COMPLETE=${shell}_source .venv/bin/vedette >"$work/vedette.$shell"
done

say "packing"
rpmbuild --quiet -bb --target "$arch" \
    --define "_topdir $work/top" --define "_rpmdir $work/top/RPMS" --define "_buildhost localhost" \
    --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
    --define "_binary_payload w6.zstdio" --define "_build_id_links none" \
    ${only:+--without collector} --define "vedette_release $release" \
    --define "vedette_version ${version//-/~}" --define "vedette_python $python" --define "vedette_root $root" \
    --define "vedette_work $work" --define "vedette_source $PWD" packaging/rpm/vedette.spec
for package in "$work"/top/RPMS/"$arch"/*.rpm; do
    # Debian's rpm looks for gpg under a name that Debian has no more.
    [ -z "$key" ] || rpmsign --define "__gpg $(command -v gpg)" --define "_gpg_name $key" --addsign "$package" >/dev/null
    name=$(basename "$package" ".$arch.rpm")
    cp "$package" "$out/$name.py${python/./}.$arch.rpm"
    say "$out/$name.py${python/./}.$arch.rpm, $(($(stat -c %s "$package") / 1048576)) MiB"
done
