#!/usr/bin/env bash
# Build the Debian packages into dist/: packaging/deb/build.sh [--python 3.11] [--arch x86_64] [--out dist]
#                                                         [--release 1] [--only agent]
#
# The files are those of the RPMs (packaging/rpm/lay.sh). Compiled Python is left out: it is made at installation, as
# Debian wants it. Two builds of one commit give the same packages, bit by bit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/rpm/lay.sh

options deb "$@"
command -v dpkg-deb >/dev/null || refuse "dpkg-deb is not installed (package dpkg)"
[ -z "$key" ] || refuse "a Debian package is not signed by itself: sign the Release file of the repository it goes to"
lay bare
furnish usr/share/zsh/vendor-completions
ln -sfn /opt/vedette/bin/vedette "$root/usr/bin/vedette" # Debian: absolute from one top-level directory to another
case $arch in x86_64) debian=amd64 ;; aarch64) debian=arm64 ;; esac

# Moves below another root: transfer ROOT PATH...
transfer() {
    local to=$1 path
    shift
    for path in "$@"; do
        [ -e "$root/$path" ] || continue
        mkdir -p "$to/$(dirname "$path")"
        mv "$root/$path" "$to/$path"
    done
}

# Packs a root: pack NAME ROOT
pack() {
    local name=$1 top=$2 script kib
    local doc=$top/usr/share/doc/$name full="${version//-/~}-$release+py${python/./}"
    install -D -m 644 packaging/deb/copyright "$doc/copyright"
    printf '%s (%s) unstable; urgency=medium\n\n  * Vedette %s, packed with Python %s.\n\n -- %s  %s\n' \
        "$name" "$full" "$version" "$python" "$(sed -n 's/^Maintainer: //p' "packaging/deb/$name/control")" \
        "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
    install -D -m 644 "packaging/deb/$name/lintian-overrides" "$top/usr/share/lintian/overrides/$name"
    find "$top" -type d -exec chmod 755 {} +
    chmod 644 "$top"/etc/vedette/*.toml # closed at installation

    kib=$(du -sk --apparent-size "$top" | cut -f1)
    install -d "$top/DEBIAN"
    (cd "$top" && find etc -type f -printf '/%p\n') | LC_ALL=C sort >"$top/DEBIAN/conffiles"
    (cd "$top" && find opt usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$top/DEBIAN/md5sums"
    for script in control postinst prerm postrm; do
        sed "s/@VERSION@/$full/; s/@ARCH@/$debian/; s/@PYTHON@/$python/; s/@SIZE@/$kib/" \
            "packaging/deb/$name/$script" >"$top/DEBIAN/$script"
    done
    chmod 644 "$top"/DEBIAN/*
    chmod 755 "$top"/DEBIAN/p*
    # xz, since lintian and older dpkg know no zstd; more than -z1 takes a minute longer for a few MiB.
    dpkg-deb --root-owner-group -Zxz -z1 --build "$top" "$out/${name}_${full}_$debian.deb" >/dev/null
    say "$out/${name}_${full}_$debian.deb, $(($(stat -c %s "$out/${name}_${full}_$debian.deb") / 1048576)) MiB"
}

say "packing"
if [ -z "$only" ]; then
    mapfile -t parts < <(sed 's,^/,,' "$work/collector.files")
    transfer "$work/collector" "${parts[@]}" usr/lib/systemd/system/vedette-{collector.service,agent.service.d} \
        usr/lib/sysusers.d etc/vedette/collector.toml
    pack vedette-collector "$work/collector"
fi
doc=$root/usr/share/doc/vedette
install -D -m 644 -t "$doc" README.md docs/*.md
install -m 644 CHANGELOG.md "$doc/changelog"
gzip -9n "$doc/changelog"
pack vedette "$root"
