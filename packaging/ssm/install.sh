#!/bin/sh
# What SSM Distributor runs to install the package: the same, since an install goes on from whatever is there.
exec sh "$(dirname "$0")/vedette-install.sh" install
