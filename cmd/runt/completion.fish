# runt completion for fish
function __runt_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l candidates (runt __complete -- $words[2..-1] 2>/dev/null)
    if test (count $candidates) -gt 0
        printf '%s\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c runt -f -a '(__runt_complete)'
