#compdef kurma kurma-cli
# Completion of kurma in zsh. Install: kurma completion zsh > a folder of $fpath/_kurma

_kurma() {
  local -a lines candidates open
  local line word ret=1
  lines=("${(@f)$("${words[1]/#\~/$HOME}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in "${(@)lines[2,-1]}"; do
    word=${line%%$'\t'*}
    # What ends with a colon goes on.
    if [[ $word == *: ]]; then
      open+=("${word//:/\\:}:${line#*$'\t'}")
    else
      candidates+=("${word//:/\\:}:${line#*$'\t'}")
    fi
  done
  (( $#candidates )) && _describe kurma candidates && ret=0
  (( $#open )) && _describe kurma open -S '' && ret=0
  [[ $PREFIX == --*=* ]] && compset -P '*='
  case $lines[1] in
    files) _files && ret=0 ;;
    folders) _files -/ && ret=0 ;;
  esac
  return ret
}
compdef _kurma kurma kurma-cli
