#!/usr/bin/env bash
# shells.sh - what shells do all day: strings, arrays, subshells, pipes, traps, jobs; bash, then sh.
set -euo pipefail
export LC_ALL=C
mib=$((1 << 20))

big_strings() {
    local piece big
    piece=$(printf 'x%.0s' {1..1024})
    big=$(head -c $((64 * mib)) /dev/zero | tr '\0' x)
    printf 'a string of %d, then of %d\n' "${#big}" "$((${#big} + ${#piece}))"
    big+=$piece
    cksum <<<"$big"
    big=${big:mib:8*mib}y
    printf '%s' "$big" | md5sum
    [[ $big == x*y ]] && echo "the pattern matches ${#big} bytes"
}

arrays() {
    local -a numbers=()
    local -A squares=()
    local i
    for ((i = 0; i < 50000; i++)); do
        numbers+=("$i")
        squares[$i]=$((i * i))
    done
    echo "${#numbers[@]} ${numbers[*]: -3} ${#squares[@]} ${squares[777]}"
    numbers=("${numbers[@]/#/n}")
    printf '%s\n' "${numbers[@]}" | sort | cksum
    mapfile -t numbers < <(seq 200000)
    echo "${#numbers[@]} lines read, the last is ${numbers[-1]}"
}

pipes_and_jobs() {
    seq 300000 | tee copy | tail -n 1
    cksum <copy
    paste <(seq 5) <(seq 5 -1 1)
    local jobs=() i
    for i in {1..20}; do
        (exit "$i") &
        jobs+=($!)
    done
    for i in "${jobs[@]}"; do
        wait "$i" || printf '%d ' $?
    done
    echo
    cat <<HERE
a here-document with $((6 * 7)) and $(basename /a/substitution)
HERE
}

traps() {
    (
        trap 'echo "ended with $?"' EXIT
        trap 'echo "got USR1"' USR1
        trap 'echo "got TERM"; exit 3' TERM
        kill -USR1 "$BASHPID"
        kill -TERM "$BASHPID"
    ) || echo "the subshell gave $?"
    bash -c 'kill -USR1 $$; echo "not reached"' || echo "USR1 without a trap gave $?"
    bash -c 'ulimit -v 4000000; exec true' && echo "a limit of address space"
}

functions_and_recursion() {
    fibonacci() {
        if (($1 < 2)); then
            echo "$1"
        else
            echo $(($(fibonacci $(($1 - 1))) + $(fibonacci $(($1 - 2)))))
        fi
    }
    fibonacci 11
}

in_sh() {
    sh -s <<'SH'
text=
i=0
while [ $i -lt 2000 ]; do
    text="$text line-$i"
    i=$((i + 1))
done
echo "${#text}"
for word in $text; do echo "$word"; done | sort -r | head -n 2
trap 'echo bye' 0
(exit 7) || echo "status $?"
SH
}

big_strings
arrays
pipes_and_jobs
traps
functions_and_recursion
in_sh
