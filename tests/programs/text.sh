#!/usr/bin/env bash
# text.sh - tools that read and sort text, with buffers of many MiB and, in sort, with threads.
set -euo pipefail
export LC_ALL=C

# 32 MiB of lines from a generator of our own: that of awk differs from awk to awk.
awk 'BEGIN {
    x = 1
    for (n = 0; n < 32 * 1024 * 1024; n += length(line) + 1) {
        x = (x * 69069 + 1) % 4294967296
        line = sprintf("%.0f %s-%d", x, substr("abcdefghijklmnopqrstuvwxyz", 1 + x % 26, x % 7), n % 1000)
        print line
    }
}' >lines

sort --parallel=2 -S 256M lines | cksum
sort --parallel=2 -S 4M -n lines | cksum
sort --parallel=4 -S 64M -t' ' -k2,2 -k1,1nr lines | cksum
sort -u -k2,2 lines | wc -l
awk '{ count[$2]++ } END { for (key in count) n += count[key]; print n }' lines
awk 'NR <= 20000 { text = text $0 } END { print length(text), substr(text, 77777, 30) }' lines
grep -c '7[0-4]*7' lines
grep -E -o '[a-z]{4,}' lines | cksum
sed -e 's/\([0-9]*\) \(.*\)/\2 \1/' lines | cksum
tac lines | rev | cut -c1-8 | uniq | wc -l
split -l 400000 lines part.
find . -name 'part.*' -size +1M | sort
cat part.* | cmp - lines && echo "the parts make the whole"
tr -d '\n' <lines >one-line
wc -c <one-line
grep -o -b 'xyz-9' one-line | tail -n 1
sort one-line | cksum
head -n 20000 lines >left
sed '7000,7010d; 15000s/^/changed /' left >right
diff left right >changes || cksum <changes
if command -v perl >/dev/null; then
    perl -e 'local $/; open my $f, "<", "lines"; my $all = <$f>; my %n; $n{$_}++ for $all =~ /(\w)-/g;
        print join(" ", map {"$_=$n{$_}"} sort keys %n), " ", length($all x 3), "\n"'
fi
