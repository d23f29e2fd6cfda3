#!/usr/bin/env bash
# archives.sh - compressors give back what they got; xz with threads and large dictionaries.
set -euo pipefail
export LC_ALL=C

mkdir tree
awk 'BEGIN {
    x = 1
    for (f = 0; f < 20; f++) {
        name = "tree/" f ".txt"
        for (i = 0; i < 25000; i++) {
            x = (x * 69069 + 1) % 4294967296
            printf "%d %.0f\n", i, x % 100000 > name
        }
        close(name)
    }
}'
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf tree.tar tree
touch -t 200001010000 tree.tar # gzip writes that down
cksum tree.tar

roundtrip() {
    "$@" <tree.tar >packed
    cksum <packed
    "$1" -dc <packed | cmp - tree.tar && echo "$1 gives back what it got"
}

roundtrip xz -T2 -3 --block-size=4MiB
roundtrip xz -T1 -6
roundtrip gzip -6
for other in bzip2 zstd lz4; do
    if command -v "$other" >/dev/null; then
        roundtrip "$other" -3
    fi
done
mkdir again
xz -T2 -0 <tree.tar | tar --use-compress-program='xz -T2' -C again -xf -
diff -r tree again/tree && echo "the trees are equal"
