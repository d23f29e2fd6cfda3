#!/usr/bin/env bash
# build.sh - the project builds itself: make, the compilers and the linker run with the library preloaded.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

mkdir copy
tar -C "$root" --exclude=./build --exclude=./.git -cf - . | tar -C copy -xf -
make -C copy -j2 build/libbigmalloc.so >build.log 2>&1 || { tail -n 5 build.log >&2; exit 1; }
nm -D --defined-only copy/build/libbigmalloc.so | awk '{ print $2, $3 }' | sort
