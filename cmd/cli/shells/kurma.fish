# Completion of kurma in fish. Install: kurma completion fish > ~/.config/fish/completions/kurma.fish

function __kurma_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
    set -q lines[2]; and printf '%s\n' $lines[2..-1]
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case folders
            __fish_complete_directories "$current"
    end
end
complete -c kurma -f -a '(__kurma_complete)'
complete -c kurma-cli -f -a '(__kurma_complete)'
