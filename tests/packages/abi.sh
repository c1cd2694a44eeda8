#!/bin/sh
# abi.sh [LIBRARY]: writes down what programs rely on, for test_abi.py.
set -eu
cd "$(dirname "$0")/../.."
exec abidw --headers-dir client/include --drop-private-types --exported-interfaces-only --no-elf-needed \
    --no-corpus-path --no-comp-dir-path --no-show-locs --type-id-style hash \
    --out-file tests/packages/libdcache-client.abi "${1:-build/client/libdcache-client.so.0}"
