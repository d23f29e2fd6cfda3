#!/usr/bin/env bash
# git.sh - a repository with fixed names and dates: every hash is the same wherever it is made.
set -euo pipefail
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_AUTHOR_DATE='1000000000 +0000'
export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b GIT_COMMITTER_DATE='1000000000 +0000'

git init -q -b main source
cd source
git config pack.threads 2
for commit in {1..10}; do
    for file in {1..20}; do
        seq "$commit" $((file * 100)) >"file-$commit-$file"
    done
    git add .
    git commit -q -m "commit $commit"
done
head -c 24000000 /dev/zero | tr '\0' y >large
git add large
git commit -q -m "a large file"
seq 1000000 >large
git commit -q -a -m "another large file"
git checkout -q -b side HEAD~3
echo side >file-1-1
git commit -q -a -m side
git checkout -q main
git merge -q -m merge side
git gc -q --aggressive --prune=now
git fsck --full --strict
git log --format='%H %s' --stat | cksum
git rev-parse HEAD
git diff HEAD~4 HEAD | cksum
git blame large | cksum
git grep -c '^77$' | sort | cksum
cd ..
git clone -q --no-local source copy
cd copy
git rev-parse HEAD
git log --oneline --graph | wc -l
git status --short
git archive HEAD | cksum
