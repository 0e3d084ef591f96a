/** Completion as bash and zsh run it, with the built command on their path. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { builtFile, reapProcesses, runToEnd } from '../support/process.ts'
import { describeWithTool } from '../support/tool-tests.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-completion-'))
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const program = join(bin, 'sluice')
  writeFileSync(
    program,
    `#!/bin/sh\nexec ${process.execPath} ${builtFile('gateway/main.js')} "$@"\n`,
  )
  chmodSync(program, 0o755)
  path = `${bin}:${process.env['PATH']}`
  writeFileSync(
    join(folder, 'box.yaml'),
    'streams: { presses: {}, alarms: {} }\nsinks: { cloud: {}, archive: { type: file } }\n',
  )
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

/** What bash offers for the words, the last of which is being typed. */
async function bash(...words: readonly string[]): Promise<string[]> {
  const quoted = ['sluice', ...words].map((word) => `'${word}'`).join(' ')
  const script = [
    'source <(sluice completion bash) || exit 1',
    `COMP_WORDS=(${quoted}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))`,
    '_sluice',
    'printf "%s\\n" "${COMPREPLY[@]}"',
  ].join('\n')
  const env = { PATH: path }
  const { stdout, stderr } = await runToEnd('bash', ['-c', script], { cwd: folder, env })
  expect(stderr).toBe('')
  return stdout.split('\n').filter((line) => line !== '')
}

describe('bash', () => {
  test('completes commands, and those below them', async () => {
    expect(await bash('st')).toEqual(['start', 'status', 'streams'])
    expect(await bash('dead-letters', 'pu')).toEqual(['purge'])
    expect(await bash('completion', '')).toEqual(['bash', 'zsh'])
    expect(await bash('comp')).toEqual(['completion'])
  })

  test('completes the options of a command', async () => {
    expect(await bash('dead-letters', 'list', '--')).toEqual(
      expect.arrayContaining(['--config', '--stream', '--limit', '--json', '--help']),
    )
    expect(await bash('check', '--t')).toEqual(['--try'])
    expect(await bash('status', '--', '--')).toEqual([])
  })

  test('completes names of streams and sinks, of the configuration that is named', async () => {
    const config = ['--config', 'box.yaml']
    expect(await bash('streams', 'park', ...config, '')).toEqual(['presses', 'alarms'])
    expect(await bash('streams', 'drain', 'x', ...config, '--sink', 'a')).toEqual(['archive'])
    expect(await bash('dead-letters', 'list', '--config', '=', 'box.yaml', '-s', 'p')).toEqual([
      'presses',
    ])
    expect(await bash('sinks', 'test', '')).toEqual(['cloud'])
    expect(await bash('sinks', 'test', '--config', 'no.yaml', '')).toEqual([])
  })

  test('completes files where an option wants one', async () => {
    expect(await bash('check', '--config', 'bo')).toEqual(['box.yaml'])
    expect(await bash('spool', 'backup', '')).toEqual(expect.arrayContaining(['bin', 'box.yaml']))
  })
})

/** A shell with a terminal of its own: types, presses Tab, and reads until a line matches. */
const ZSH = `
zmodload zsh/zpty
zpty shell "PS1='ready>' zsh -f -i"
until_seen() { local text; zpty -r shell text "*$1*" || exit 1; print -r -- "$text" }
until_seen 'ready>'
zpty -w shell 'autoload -Uz compinit && compinit -u -D && source <(sluice completion zsh) && print done''-now'
until_seen $'\\ndone-now*ready>'
zpty -w -n shell $'sluice strea\\tpar\\t--config box.yaml pr\\t'
until_seen 'streams*park*presses'
zpty -w -n shell $'\\C-usluice dead-\\tpur\\t--y\\t'
until_seen 'dead-letters*purge*--yes'
zpty -w -n shell $'\\C-usluice check --config bo\\t'
until_seen 'box.yaml'
zpty -w -n shell $'\\C-usluice st\\t'
until_seen 'how the gateway stands'
zpty -d shell
print all seen
`

describeWithTool('zsh', 'zsh', () => {
  test('completes commands, options, names and files, and says what they are', async () => {
    const env = { PATH: path, TERM: 'xterm', HOME: folder }
    const { exit, stdout } = await runToEnd('zsh', ['-f', '-c', ZSH], { cwd: folder, env })
    expect(exit.code, stdout).toBe(0)
    expect(stdout).toContain('all seen')
  })
})
