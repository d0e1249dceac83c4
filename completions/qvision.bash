_qvision_completion() {
    local IFS=$'\n' words=() word value joins=
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -gt 1 && ( $joins || $word == [:=]* ) ]]; then words[-1]+=$word; else words+=("$word"); fi
        if [[ $word == *[:=] ]]; then joins=1; else joins=; fi
    done
    COMPREPLY=( $( env COMP_WORDS="${words[*]}" \
                   COMP_CWORD=$((${#words[@]} - 1)) \
                   _QVISION_COMPLETE=complete_bash $1 ) )
    value=${words[-1]}
    if [[ $value == --*=* ]]; then value=${value#*=}; fi
    if [[ $COMP_WORDBREAKS == *:* ]]; then COMPREPLY=( "${COMPREPLY[@]#"${value%"${value##*[:=]}"}"}" ); fi
    return 0
}

complete -o default -F _qvision_completion qvision
