# SPDX-License-Identifier: BSD-2-Clause
#
# Completion for bash. Commands and options are those of the help texts of the sluice that runs;
# names are the daemon's, as far as it answers.

_sluice_help() {
	sluice "$@" --help 2>/dev/null
}

_sluice_commands() {
	_sluice_help | sed -n 's/^  \([a-z][a-z]*\)\( .*\|$\)/\1/p'
}

_sluice_parts() {
	_sluice_help | awk -v command="$1" '
		/^  [a-z]/ { found = $1 == command; words = $2 }
		/^   *[a-z|-]*\|[a-z|-]*$/ { words = $1 }
		found && words ~ /\|/ { gsub(/\|/, "\n", words); print words; words = "" }'
}

_sluice_options() {
	_sluice_help "$@" | grep -oE -- '(^| )--[a-z][a-z-]*' | tr -d ' ' | sort -u
}

_sluice_names() {
	case "$1" in
	volume) sluice volume list 2>/dev/null | cut -f1 ;;
	store) sluice store list 2>/dev/null | cut -f1 ;;
	disk) sluice disk list 2>/dev/null | cut -f1 ;;
	rpc) sluice rpc rpc_get_methods 2>/dev/null | tr -d ' ",[]' ;;
	esac
}

_sluice() {
	local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} parts
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$(_sluice_commands) --help --version" -- "$word")
		return
	fi
	parts=$(_sluice_parts "$command")
	if ((COMP_CWORD == 2)) && [ -n "$parts" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$parts --help" -- "$word")
		return
	fi
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(_sluice_options "$command" ${parts:+"${COMP_WORDS[2]}"})" -- "$word")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$(_sluice_names "$command")" -- "$word"
		compgen -f -- "$word")
}

complete -o filenames -F _sluice sluice
