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

_redpool() {
    local program=$1 current=$2 previous=$3 subcommand=""
    local index
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${COMP_WORDS[index]} != -* ]]; then
            subcommand=${COMP_WORDS[index]}
            break
        fi
    done
    case $previous in
        --config | --socket)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
    esac
    if [[ -z $subcommand ]]; then
        mapfile -t COMPREPLY < <(
            compgen -W "$(_redpool_subcommands "$program") help --version --help" -- "$current")
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(
            compgen -W "$(_redpool_options "$program" "$subcommand")" -- "$current")
    elif [[ $subcommand == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_redpool_subcommands "$program")" -- "$current")
    elif [[ $subcommand == check ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}

complete -F _redpool redpool
