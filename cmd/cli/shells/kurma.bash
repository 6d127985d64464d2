# Completion of kurma in bash. Install: kurma completion bash > /etc/bash_completion.d/kurma

_kurma() {
  local words=() lines=() word line gap rest=$COMP_LINE prefix part
  # Bash splits words at "=" and ":", which the program wants whole: what has no space before it
  # belongs to the word before.
  for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    [[ -n $word ]] && gap=${rest%%"$word"*} || gap=$rest
    rest=${rest#"$gap$word"}
    if [[ -z $gap && ${#words[@]} -gt 0 ]]; then words[-1]+=$word; else words+=("$word"); fi
  done
  # What bash puts the answer in place of: of a word that it has split, the last part.
  part=${COMP_WORDS[COMP_CWORD]}
  [[ $part == [:=] ]] && part=
  prefix=${words[-1]%"$part"}
  mapfile -t lines < <("${1/#\~/$HOME}" complete -- "${words[@]:1}" 2>/dev/null)
  COMPREPLY=()
  for line in "${lines[@]:1}"; do
    line=${line%%$'\t'*}
    COMPREPLY+=("${line#"$prefix"}")
  done
  case ${lines[0]-} in
    files)
      compopt -o default # Where there is nothing else.
      [[ ${#COMPREPLY[@]} -gt 0 && -n $part ]] &&
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$part")
      ;;
    folders) compopt -o dirnames ;;
  esac
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace
}
complete -F _kurma kurma kurma-cli
