/**
 * What a shell is told to complete `sluice` by. The scripts know no command: at each Tab they ask
 * the program itself (`sluice complete`), so they fit whichever version is installed.
 *
 * An answer has a line for each word, with a tab before its description; the line `:files` asks for
 * the shell's own completion of files.
 */
export const FILES_LINE = ':files'

export const SHELLS = ['bash', 'zsh'] as const

export const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], string>> = {
  // Bash cuts `--option=value` at the sign; without the sign it reads as `--option value`.
  bash: `# Completion of sluice for bash. For this shell: source <(sluice completion bash)
# For all of a user's: sluice completion bash > ~/.local/share/bash-completion/completions/sluice
_sluice() {
  local current=\${COMP_WORDS[COMP_CWORD]} word answer description
  local -a words=()
  COMPREPLY=()
  [[ $current == = ]] && current=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do [[ $word == = ]] || words+=("$word"); done
  answer=$("\${COMP_WORDS[0]}" complete -- "\${words[@]}" "$current" 2>/dev/null) || return 0
  while IFS=$'\\t' read -r word description; do
    if [[ $word == ${FILES_LINE} ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$current")
    elif [[ -n $word && $word == "$current"* ]]; then
      COMPREPLY+=("$word")
    fi
  done <<< "$answer"
}
complete -F _sluice sluice
`,
  zsh: `#compdef sluice
# Completion of sluice for zsh. For this shell, behind compinit: source <(sluice completion zsh)
# For all shells: sluice completion zsh > a file _sluice in a folder of $fpath
_sluice() {
  local answer word description wantsFiles=0
  local -a described
  answer=$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null) || return 1
  while IFS=$'\\t' read -r word description; do
    if [[ $word == ${FILES_LINE} ]]; then
      wantsFiles=1
    elif [[ -n $word ]]; then
      described+=("$word:$description")
    fi
  done <<< "$answer"
  if (( wantsFiles )); then
    _files
  elif (( \${#described} )); then
    _describe sluice described
  else
    return 1
  fi
}
if [[ $funcstack[1] == _sluice ]]; then _sluice "$@"; else compdef _sluice sluice; fi
`,
}
