#!/usr/bin/env bash
# Build the images as one OCI layout: packaging/container/build.sh [--arch x86_64] [--out dist/image] [--only fargate]
#
# Without a container engine: packages of Debian are unpacked, not installed (no script of theirs runs, so that the other
# architecture is built too), wheels come by the versions and hashes of packaging/rpm's lock files, umoci writes the
# layout. Tags: `agent` has bcc, `fargate` is the agent without, `collector` has no bcc and what a collector needs. They
# share their layers.
#
# There is no shell, no package manager and nothing setuid in them. Two builds from the same packages give the same digests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

arch=$(uname -m) out=dist/image tags=(agent fargate collector)
while [ $# -gt 0 ]; do
    case $1 in
        --arch) arch=$2 ;;
        --out) out=$2 ;;
        --only) tags=("$2") ;;
        *) printf 'build.sh: unknown option %s; it takes --arch, --out, --only\n' "$1" >&2 && exit 2 ;;
    esac
    shift 2
done
case $arch in
    x86_64) debian=amd64 ;;
    aarch64) debian=arm64 ;;
    *) printf 'build.sh: --arch is x86_64 or aarch64, not %s\n' "$arch" >&2 && exit 2 ;;
esac
for program in mmdebstrap umoci dpkg-deb; do
    command -v "$program" >/dev/null || { printf 'build.sh: %s is not installed\n' "$program" >&2 && exit 2; }
done

umask 022 # whoever builds: the collector in its image is not root
say() { printf 'image: %s\n' "$*" >&2; }

python=3.11 # of Debian 12, whose bcc the image has
version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' agent/version.py)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Packages whose files, with those of what they depend on, are a layer.
small=python3-minimal,libpython3.11-stdlib,libstdc++6,ca-certificates,netbase,base-files
unpack() { # unpack FOLDER PACKAGES
    mmdebstrap --quiet --variant=extract --architectures="$debian" --include="$2" --skip=cleanup \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr bookworm "$work/$1.tar" >/dev/null
    mkdir "$work/$1"
    tar -x --no-same-owner --exclude='./dev/*' -C "$work/$1" -f "$work/$1.tar"
    rm "$work/$1.tar"
}

# What Python packages bring, below /opt/vedette as in the RPMs: lay FOLDER LOCK
lay() {
    local root=$work/$1 site=opt/vedette/lib/python$python/site-packages wheels=$work/wheels-$1 glibc
    local foreign=(--only-binary :all: --python-version "$python" --implementation cp)
    for glibc in 2_34 2_28 2_26 2_24 2_17; do foreign+=(--platform "manylinux_${glibc}_$arch"); done
    foreign+=(--platform "manylinux2014_$arch")
    mkdir -p "$wheels" "$root/opt/vedette/bin" "$root/$site"
    .venv/bin/pip download --quiet --require-hashes --no-deps "${foreign[@]}" -d "$wheels" -r "packaging/rpm/$2.lock"
    cp "$work"/own/*.whl "$wheels"
    .venv/bin/pip install --quiet --no-index --no-deps --no-compile "${foreign[@]}" --target "$root/$site" "$wheels"/*.whl
    rm -rf "${root:?}/$site/bin"
    mkdir "$work/lists-$1"
    ln -s "../$1" "$work/lists-$1/root"
    .venv/bin/python packaging/rpm/layout.py "$work/lists-$1/root" "$site" "$python" \
        <(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' packaging/rpm/agent.lock) compiled
    printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$python" >"$root/opt/vedette/pyvenv.cfg"
    ln -s "/usr/bin/python$python" "$root/opt/vedette/bin/python"
    install -m 755 packaging/rpm/vedette packaging/container/entry packaging/container/healthy "$root/opt/vedette/bin"
    install -d "$root/usr/bin" "$root/usr/share/doc/vedette"
    ln -s ../../opt/vedette/bin/vedette "$root/usr/bin/vedette"
    install -m 644 LICENSE "$root/usr/share/doc/vedette/LICENSE"
    install -m 644 ebpf/LICENSE "$root/usr/share/doc/vedette/LICENSE.ebpf"
}

layer() { # layer FOLDER: the same folder gives the same bytes
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=posix \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -C "$work/$1" -cf "$work/$1.tar" .
}

wanted() { [[ " ${tags[*]} " == *" $1 "* ]]; }

say "unpacking Debian's packages for $debian"
unpack base "$small"
.venv/bin/python packaging/container/rootfs.py "$work/base"
! wanted agent || {
    unpack bcc "$small,python3-bpfcc,libbpf1"
    .venv/bin/python packaging/container/rootfs.py "$work/bcc" --beside "$work/base"
}
say "building vedette $version"
mkdir "$work/source" "$work/own"
git ls-files -z --cached | tar --null --files-from - --ignore-failed-read -cf - 2>/dev/null | tar -xf - -C "$work/source"
.venv/bin/pip wheel --quiet --no-deps --wheel-dir "$work/own" "$work/source"
if wanted agent || wanted fargate; then lay vedette agent; fi
! wanted collector || lay keeper collector

say "writing $out"
rm -rf "$out"
mkdir -p "$(dirname "$out")"
umoci init --layout "$out"
for tag in "${tags[@]}"; do
    case $tag in
        agent) layers=(base bcc vedette) command=agent lock=agent user=0 ;;
        fargate) layers=(base vedette) command=agent lock=agent user=0 ;; # SYS_PTRACE is no use to another user
        collector) layers=(base keeper) command=collector lock=collector user=65532:65532 ;;
        *) say "no image is called $tag: agent, fargate, collector" && exit 2 ;;
    esac
    mkdir -p "$work/sbom-$tag/usr/share/vedette"
    .venv/bin/cyclonedx-py requirements --output-reproducible --of JSON --spec-version 1.6 "packaging/rpm/$lock.lock" \
        2>/dev/null >"$work/$tag.python.json"
    .venv/bin/python packaging/container/sbom.py "$version" "$debian" "$work/$tag.python.json" "${layers[@]/#/$work/}" \
        >"$work/sbom-$tag/usr/share/vedette/sbom.cdx.json"
    umoci new --image "$out:$tag"
    for each in "${layers[@]}" "sbom-$tag"; do
        [ -e "$work/$each.tar" ] || layer "$each"
        umoci raw add-layer --image "$out:$tag" --history.created "$created" --history.created_by "vedette $each" \
            "$work/$each.tar"
    done
    umoci config --image "$out:$tag" --no-history --created "$created" --architecture "$debian" --os linux \
        --config.entrypoint /opt/vedette/bin/entry --config.cmd "$command" --config.user "$user" \
        --config.workingdir / --config.env PATH=/usr/bin --config.env TMPDIR=/run/vedette \
        --config.label org.opencontainers.image.title="vedette-$tag" \
        --config.label org.opencontainers.image.version="$version" \
        --config.label org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only"
    cp "$work/sbom-$tag/usr/share/vedette/sbom.cdx.json" "$out-$tag.cdx.json"
    say "$out:$tag"
done
umoci gc --layout "$out"
