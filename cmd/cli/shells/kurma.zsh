#compdef kurma kurma-cli
# Completion of kurma in zsh. Install: kurma completion zsh > a folder of $fpath/_kurma

_kurma() {
  local -a lines candidates
  local line
  lines=("${(@f)$("${words[1]/#\~/$HOME}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in "${(@)lines[2,-1]}"; do
    candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  (( $#candidates )) && _describe kurma candidates
  [[ $PREFIX == --*=* ]] && compset -P '*='
  case $lines[1] in
    files) _files ;;
    folders) _files -/ ;;
  esac
}
compdef _kurma kurma kurma-cli
