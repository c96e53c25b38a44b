#!/bin/sh
# What SSM Distributor runs to remove the package; configuration and state stay.
exec sh "$(dirname "$0")/vedette-install.sh" uninstall
