#!/usr/bin/env bash
# maps.sh NAME - is the library NAME in the memory maps of a program, of a grandchild, and of another shell?
# shellcheck disable=SC2016 # the inner shell expands it
look='if grep -q "/$1\$" "/proc/$$/maps"; then echo present; else echo absent; fi'
bash -c "$look" bash "$1"
(bash -c "$look" bash "$1")
env sh -c "$look" sh "$1"
