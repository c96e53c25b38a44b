#!/usr/bin/env bash
# Build the RPMs into dist/: packaging/rpm/build.sh [--python 3.11] [--arch x86_64] [--out dist] [--key GPGNAME]
#                                             [--release 1] [--only agent]
#
# Two builds of one commit give the same packages, bit by bit: times are the commit's, and nothing of this machine is in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/rpm/lay.sh

options rpm "$@"
command -v rpmbuild >/dev/null || refuse "rpmbuild is not installed (package rpm or rpm-build)"
lay compiled
furnish usr/share/zsh/site-functions

say "packing"
mkdir "$work/top"
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
