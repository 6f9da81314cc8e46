# Completion for redpool in bash. What it offers is read from `redpool help`, so it is never older
# than the program.

_redpool_subcommands() {
    "$1" --help 2>/dev/null |
        sed -n '/^SUBCOMMANDS:/,$ s/^  \([a-z]\{1,\}\)\( .*\)\{0,1\}$/\1/p'
}

_redpool_options() {
    "$1" help "$2" 2>/dev/null |
        grep -oE -e '(^  |, )--?[a-z][a-z-]*' | grep -oE -e '--?[a-z][a-z-]*'
}

# The words that may follow a subcommand.
_redpool_words() {
    case $2 in
        help) _redpool_subcommands "$1" ;;
        show)
            "$1" help show 2>/dev/null | tr '\n' ' ' |
                sed -n "s/.* SHOW: \([a-z, ]*\)\..*/\1/p" | tr -d ,
            ;;
        # The pools of the file, if its passwords can be read.
        pause | resume | reconnect | ping)
            "$1" check 2>/dev/null |
                sed -n '/^pools:/,/^[a-z]/ s/^  "\{0,1\}\([a-z0-9_-]*\)"\{0,1\}:.*/\1/p'
            ;;
        # As in `kill client|upstream <id>`.
        *)
            "$1" help "$2" 2>/dev/null |
                sed -n 's/^USAGE:.* \([a-z]*|[a-z|]*\).*/\1/p' | tr '|' ' '
            ;;
    esac
}

_redpool() {
    local program=$1 current=$2 previous=$3 subcommand=""
    local index words
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${COMP_WORDS[index]} != -* ]]; then
            subcommand=${COMP_WORDS[index]}
            break
        fi
    done
    if [[ $previous == --config || $previous == --socket ||
        $subcommand == check && $current != -* ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    if [[ -z $subcommand ]]; then
        words="$(_redpool_subcommands "$program") help --version --help"
    elif [[ $current == -* ]]; then
        words=$(_redpool_options "$program" "$subcommand")
    elif ((COMP_CWORD == index + 1)) || [[ $previous == -* ]]; then
        words=$(_redpool_words "$program" "$subcommand")
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _redpool redpool
