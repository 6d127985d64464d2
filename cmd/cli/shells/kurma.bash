# Completion of kurma in bash. Install: kurma completion bash > /etc/bash_completion.d/kurma

_kurma() {
  local words=() lines=() word line prefix=
  # Bash splits words at "=", which the program wants whole.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ ${#words[@]} -gt 0 && ($word == "=" || ${words[-1]} == --*=) ]]; then
      words[-1]+=$word
    else
      words+=("$word")
    fi
  done
  [[ ${words[-1]} == --*=* ]] && prefix=${words[-1]%%=*}=
  mapfile -t lines < <("${1/#\~/$HOME}" complete -- "${words[@]}" 2>/dev/null)
  COMPREPLY=()
  for line in "${lines[@]:1}"; do
    line=${line%%$'\t'*}
    COMPREPLY+=("${line#"$prefix"}")
  done
  case ${lines[0]-} in
    files) compopt -o default ;;
    folders) compopt -o dirnames ;;
  esac
}
complete -F _kurma kurma kurma-cli
