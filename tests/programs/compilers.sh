#!/usr/bin/env bash
# compilers.sh - gcc and g++ make the same programs, and what they make prints the same.
set -euo pipefail
export LC_ALL=C
here=$(dirname "${BASH_SOURCE[0]}")

cp "$here/containers.cpp" .
flags=(-O2 -g -pthread -frandom-seed=1 -fdebug-prefix-map="$PWD=.") # the same object file in any folder
g++ -std=c++17 "${flags[@]}" -c containers.cpp
cksum <containers.o
g++ -pthread containers.o -o containers
./containers
# One function of 6,000 lines: the tables of the optimiser grow large.
awk 'BEGIN {
    print "unsigned long chain(unsigned long x) {"
    for (i = 0; i < 6000; i++) printf "    x = (x ^ %dUL) * %dUL + (x >> %d);\n", i, 2 * i + 1, i % 13 + 1
    print "    return x;\n}\nint main(void) { return (int)(chain(1) % 100); }"
}' >chain.c
gcc "${flags[@]}" -c chain.c
cksum <chain.o
gcc chain.o -o chain
./chain || echo "chain ends with $?"
