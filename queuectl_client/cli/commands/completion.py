"""`queuectl completion`: the script that makes a shell complete verbs, options, jobs and names.

Each script hands the line up to the cursor to `queuectl`, which answers as `completing` says. They differ in what
their shell knows of the line, and in how it takes the answer.
"""

from collections.abc import Mapping
from typing import Final

import click

from queuectl_client.cli.framework import verb

# bash takes = : and @ for the ends of words; $2 is what it thinks the word is, and only that is replaced.
_BASH: Final = r"""_queuectl_completion() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :file) compopt -o default ;;
            :folder) compopt -o dirnames ;;
            :open) compopt -o nospace ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done < <(_QUEUECTL_COMPLETE=bash COMP_TEXT="${COMP_LINE:0:COMP_POINT}" COMP_CUR="$2" "$1" 2>/dev/null)
}
complete -o nosort -F _queuectl_completion queuectl
"""

_ZSH: Final = r"""#compdef queuectl
_queuectl() {
    local line value
    local -a whole whole_shown open open_shown
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        case $line in
            :file) _files ;;
            :folder) _files -/ ;;
            :open) ;;
            *[=:]|*[=:]$'\t'*) open+=("$value"); open_shown+=("${line/$'\t'/  -- }") ;;
            *) whole+=("$value"); whole_shown+=("${line/$'\t'/  -- }") ;;
        esac
    done < <(_QUEUECTL_COMPLETE=zsh COMP_TEXT="${(j: :)words[1,CURRENT-1]} $PREFIX" ${(Q)~words[1]} 2>/dev/null)
    (( $#whole )) && compadd -l -V queuectl -d whole_shown -a whole
    (( $#open )) && compadd -l -V queuectl -S '' -d open_shown -a open
    (( $#whole + $#open ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _queuectl "$@"
else
    compdef _queuectl queuectl
fi
"""

_FISH: Final = r"""function __queuectl_complete
    set -l words (commandline -opc)
    set -l text (commandline -cp | string collect)
    for line in (_QUEUECTL_COMPLETE=fish COMP_TEXT=$text $words[1] 2>/dev/null)
        switch $line
            case :file
                __fish_complete_path (commandline -ct)
            case :folder
                __fish_complete_directories (commandline -ct)
            case :open
            case '*'
                echo -- $line
        end
    end
end
complete --no-files --keep-order --command queuectl --arguments '(__queuectl_complete)'
"""

SCRIPTS: Final[Mapping[str, str]] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@verb(
    "completion",
    example="""
        eval "$(queuectl completion bash)"
        eval "$(queuectl completion zsh)"
        queuectl completion fish | source
    """,
)
@click.argument("shell", type=click.Choice(tuple(SCRIPTS)))
def completion(shell: str) -> None:
    """Print the completion script of a shell; the line of the example goes into its start-up file.

    It completes verbs and options, and from the daemon, where one runs: jobs (with their commands, where the shell
    shows such), selectors, queues, batches, labels, resources and settings. It starts no daemon and waits for none.
    """
    click.echo(SCRIPTS[shell], nl=False)
