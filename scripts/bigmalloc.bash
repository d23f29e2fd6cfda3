# Completion of bigmalloc's commands, flags and arguments for bash.
# shellcheck shell=bash

# options: made by scripts/option-table
_bigmalloc_flags() {
    echo --enabled --no-enabled
    echo --preset=
    echo --threshold=
    echo --cache-max=
    echo --recycle --no-recycle
    echo --decay-ms=
    echo --pressure=
    echo --helper=
    echo --prefault=
    echo --profile=
    echo --numa=
    echo --thp=
    echo --device --no-device
    echo --device-threshold=
    echo --device-cache-max=
    echo --device-free=
    echo --pinned --no-pinned
    echo --pinned-cache-max=
    echo --meminfo=
    echo --fill=
    echo --stats=
    echo --stats-file=
    echo --stats-signal=
    echo --live --no-live
    echo --trace=
    echo --trace-events --no-trace-events
    echo --trace-ms=
    echo --trace-max=
    echo --on-error=
}

_bigmalloc_values() {
    case $1 in
    --enabled) echo on off ;;
    --preset) echo none inference training batch ;;
    --recycle) echo on off ;;
    --helper) echo auto off ;;
    --numa) echo auto local interleave nodes:0,2 off ;;
    --thp) echo auto on off ;;
    --device) echo on off ;;
    --device-free) echo sync quarantine ;;
    --pinned) echo on off ;;
    --meminfo) echo adjusted driver ;;
    --fill) echo none zero poison ;;
    --stats) echo auto off text json prom always ;;
    --stats-signal) echo USR1 USR2 RTMIN+n none ;;
    --live) echo on off ;;
    --trace-events) echo on off ;;
    --on-error) echo abort report ;;
    esac
}
# end of options

# Processes of this user that have the library: those with a file of live counters.
_bigmalloc_pids() {
    local file
    for file in "${XDG_RUNTIME_DIR:-/none}"/bigmalloc/* /dev/shm/bigmalloc-"$EUID"/*; do
        file=${file##*/}
        [[ ! -e /proc/${file%-*} ]] || echo "${file%-*}"
    done
}

# Sets COMPREPLY to those of the words that begin as the current one; a flag that ends in = waits for its value.
_bigmalloc_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word")
    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}

# _bigmalloc_flags_of COMMAND: those of the others, which are few and of their own.
_bigmalloc_flags_of() {
    case $1 in
    top) echo --count --interval --once ;;
    stat) echo --count --dump --interval --json ;;
    report) echo --json --markdown --trace ;;
    plot) echo --kind --output ;;
    metrics) echo --interval --textfile ;;
    options) echo --markdown ;;
    doctor) echo --json ;;
    esac
}

_bigmalloc_files() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
}

# The words behind run: flags of ours, then a program and what completes that.
_bigmalloc_run() {
    local place
    for ((place = 2; place < COMP_CWORD; place++)); do
        case ${COMP_WORDS[place]} in
        -- | [!-=]*)
            # "--flag = value" are three words here.
            [[ ${COMP_WORDS[place - 1]} == = ]] && continue
            [[ ${COMP_WORDS[place]} != -- ]] || place=$((place + 1))
            ((place > COMP_CWORD)) || _bigmalloc_program "$place"
            return
            ;;
        esac
    done
    if [[ $before == = ]]; then
        _bigmalloc_words "$(_bigmalloc_values "${COMP_WORDS[COMP_CWORD - 2]}")"
    elif [[ $word == = ]]; then
        word='' _bigmalloc_words "$(_bigmalloc_values "$before")"
    elif [[ $word == -* ]]; then
        _bigmalloc_words "$(_bigmalloc_flags) --report --report= --help"
    else
        _bigmalloc_program "$COMP_CWORD"
    fi
}

# _bigmalloc_program PLACE: as if the line began with the program, where bash-completion is there to do it.
_bigmalloc_program() {
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif (($1 == COMP_CWORD)); then
        mapfile -t COMPREPLY < <(compgen -c -- "$word")
    else
        _bigmalloc_files
    fi
}

_bigmalloc() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _bigmalloc_words "$_bigmalloc_commands --help --version"
        return
    fi
    case ${COMP_WORDS[1]} in
    run)
        _bigmalloc_run
        return
        ;;
    help) _bigmalloc_words "$_bigmalloc_commands" ;;
    top | stat | doctor) _bigmalloc_words "$(_bigmalloc_pids)" ;;
    *) _bigmalloc_files ;;
    esac
    [[ $word != -* ]] || _bigmalloc_words "$(_bigmalloc_flags_of "${COMP_WORDS[1]}") --help"
}

_bigmalloc_commands='run top stat report plot metrics options doctor help'
complete -F _bigmalloc bigmalloc
