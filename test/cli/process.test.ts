/** The built command as a real process. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { parsePasswordFile, verifyPassword } from '../../gateway/shared/passwords/password-file.ts'
import { OneNumberSink } from '../support/one-number-sink.ts'
import {
  builtFile,
  builtProgram,
  reapProcesses,
  runProgram,
  runToEnd,
  startProcess,
} from '../support/process.ts'
import { testWithTool } from '../support/tool-tests.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-cli-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('sluice check', () => {
  test('prints the effective configuration as YAML that loads again, and how long an outage it holds', async () => {
    const config = file(
      'sluice.yaml',
      'streams: { telemetry: { maxBytes: 2GiB }, alarms: { maxBytes: 10MiB } }\n',
    )
    const { exit, stdout, stderr } = await runProgram('gateway', ['check', '--config', config])
    expect(exit.code).toBe(0)
    expect(stderr).toBe('')
    const again = loadConfig(SCHEMA, {
      file: file('again.yaml', stdout),
      env: {},
      cwd: folder,
    }).config
    expect(again).toEqual(loadConfig(SCHEMA, { file: config, env: {}, cwd: folder }).config)
    expect(stdout).toMatch(/^# telemetry +41 d +4 d +22 h$/m)
    expect(stdout).toMatch(/^# alarms +4\.8 h +0\.4 h +0\.1 h$/m)
    expect(stdout).toContain(
      '# An outage of the sink that each stream holds, at messages of 300 bytes:',
    )
    expect(stdout).toContain('# Assumed: 200 bytes of envelope')
    expect(stdout).toMatch(
      /^# sink cloud \(.*\): at least once with ids; .*; what it acks is durable there$/m,
    )
  })

  test('hides secrets and takes the environment', async () => {
    const env = {
      SLUICE__SINKS__CLOUD__BEARER_TOKEN: 's3cret',
      SLUICE__SINKS__CLOUD__HEADERS__X_KEY: 's3cret',
    }
    const { exit, stdout, stderr } = await runProgram('gateway', ['check'], { cwd: folder, env })
    expect(exit.code).toBe(0)
    expect(stdout + stderr).not.toContain('s3cret')
    expect(parse(stdout).sinks.cloud).toMatchObject({
      bearerToken: '(hidden)',
      headers: { 'x-key': '(hidden)' },
    })
  })

  test('I6: says which limits this host cuts, for want of descriptors', async () => {
    const command = `ulimit -n 1024 && exec ${process.execPath} ${builtProgram('gateway')} check`
    const { exit, stderr } = await runToEnd('/bin/bash', ['-c', command], { cwd: folder })
    expect(exit.code).toBe(0)
    expect(stderr).toMatch(
      /^warning: mqtt\.maxConnections: 7\d\d will be in effect and not 10000: .*LimitNOFILE/m,
    )
  })

  test('counts what the data folder holds as room of its limits', async () => {
    const config = file('sluice.yaml', 'gateway: { dataDir: held }\n')
    mkdirSync(join(folder, 'held', 'spool'), { recursive: true })
    file('held/spool/table', 'x'.repeat(3_000_000))
    const { stdout } = await runProgram('gateway', ['check', '-c', config, '--json'])
    const { usedBytes } = JSON.parse(stdout) as { usedBytes: number }
    expect(usedBytes).toBeGreaterThanOrEqual(3_000_000)
    expect(usedBytes).toBeLessThan(4_000_000)
  })

  test('warns when the sum of maxBytes exceeds the free disk, and names files that cannot be read', async () => {
    const config = file(
      'sluice.yaml',
      'gateway: { dataDir: not/there/yet }\nstreams: { a: { maxBytes: 600000GiB }, b: { maxBytes: 600000GiB } }\nadmin: { token: { file: token } }\n',
    )
    const { exit, stderr } = await runProgram('gateway', ['check', '-c', config])
    expect(exit.code).toBe(1)
    expect(stderr).toMatch(
      /warning: streams: the sum of maxBytes \(1171\.\d TiB|warning: streams: the sum of maxBytes \(1\.1 PiB/,
    )
    expect(stderr).toContain('exceeds the free disk')
    expect(stderr).toMatch(
      new RegExp(
        `fault: admin\\.token: ${folder}/token cannot be read \\(ENOENT\\).*\\[ADMIN_TOKEN_UNREADABLE\\]`,
      ),
    )
  })

  test('a secret that is a folder or an empty file is a fault, as one that is missing is', async () => {
    mkdirSync(join(folder, 'folder'))
    file('empty', '')
    file('token', 'secret')
    const sinkOf = (path: string): string =>
      `{ type: http, url: 'http://127.0.0.1:9/', auth: { kind: bearer, token: { file: ${path} } } }`
    const config = file(
      'sluice.yaml',
      `sinks: { a: ${sinkOf('folder')}, b: ${sinkOf('empty')}, cloud: ${sinkOf('token')}, d: ${sinkOf('none')} }\n`,
    )
    const { exit, stderr } = await runProgram('gateway', ['check', '-c', config])
    expect(exit.code).toBe(1)
    const faults = stderr.split('\n').filter((line) => line.startsWith('fault: '))
    expect(faults).toEqual([
      `fault: sinks.a.auth.token: ${folder}/folder is a folder; name a file [SINK_FILE_UNREADABLE]`,
      `fault: sinks.b.auth.token: ${folder}/empty is empty; write into it what the key says [SINK_FILE_UNREADABLE]`,
      `fault: sinks.d.auth.token: ${folder}/none cannot be read (ENOENT); make it readable for the gateway [SINK_FILE_UNREADABLE]`,
    ])
  })

  test('says what it read, and why: SLUICE_CONFIG, else ./sluice.yaml, else the defaults', async () => {
    file('other.yaml', 'gateway: { id: other }\n')
    const check = async (env: Record<string, string> = {}) =>
      (await runProgram('gateway', ['check'], { cwd: folder, env })).stdout.split('\n', 1)[0]
    expect(await check()).toBe(
      '# configuration: the defaults (neither SLUICE_CONFIG nor ./sluice.yaml nor /etc/sluice/sluice.yaml)',
    )
    file('sluice.yaml', 'gateway: { id: here }\n')
    expect(await check()).toBe('# configuration: ./sluice.yaml (found there)')
    expect(await check({ SLUICE_CONFIG: 'other.yaml' })).toBe(
      '# configuration: other.yaml (SLUICE_CONFIG)',
    )
  })

  test('finds all that a start would refuse, with its code; the start says the same and writes nothing', async () => {
    const tls = fileURLToPath(new URL('../support/tls', import.meta.url))
    file('passwords', 'press-7:nonsense\n')
    file('access', 'topic sometimes a/#\n')
    const config = file(
      'sluice.yaml',
      `gateway: { dataDir: data }
mqtt:
  listeners:
    - { host: 127.0.0.1, port: 0, tls: { cert: ${tls}/server.pem, key: ${tls}/client.key } }
    - { host: 127.0.0.1, port: 0, tls: { cert: missing.pem, key: missing.key } }
  auth: { passwordFile: passwords, aclFile: access }
admin: { port: 0 }
`,
    )
    const check = await runProgram('gateway', ['check', '--config', config])
    const start = await runProgram('gateway', ['start', '--config', config])
    for (const { exit, stderr } of [check, start]) {
      expect(exit.code).toBe(1)
      expect(stderr).toMatch(/mqtt\.listeners\[0\].* cannot be used .*\[LISTENER_TLS_UNUSABLE\]/)
      expect(stderr).toMatch(
        /mqtt\.listeners\[1\].* tls\.cert .*missing\.pem: ENOENT.*\[LISTENER_TLS_UNUSABLE\]/,
      )
      expect(stderr).toMatch(/passwords:1: .*\[AUTH_FILE_INVALID\]/)
      expect(stderr).toMatch(/access:1: .*\[AUTH_FILE_INVALID\]/)
    }
    expect(existsSync(join(folder, 'data'))).toBe(false)
  })

  test('finds a data folder that cannot be one, and a start that meets a taken port says so before it writes', async () => {
    // Rights allow a folder in /proc, the file system does not.
    for (const dataDir of ['/proc/version/data', '/proc/data']) {
      const env = { SLUICE__GATEWAY__DATA_DIR: dataDir }
      const { exit, stderr } = await runProgram('gateway', ['check'], { cwd: folder, env })
      expect(exit.code).toBe(1)
      expect(stderr).toContain('[SLUICE_FOLDER_UNUSABLE]')
    }
    const others = [createServer(), createServer()]
    for (const other of others) await once(other.listen(0, '127.0.0.1'), 'listening')
    const [first, second] = others.map((other) => `${(other.address() as AddressInfo).port}`)
    try {
      const env = {
        SLUICE__MQTT__LISTENERS__0__PORT: first ?? '',
        SLUICE__ADMIN__PORT: second ?? '',
      }
      for (const args of [['start'], ['check', '--try']]) {
        const taken = await runProgram('gateway', args, { cwd: folder, env })
        expect(taken.exit.code).toBe(1)
        expect(taken.stderr).toContain('another program listens there')
        expect(taken.stderr).toContain('[LISTENER_ADDRESS_IN_USE]')
        expect(taken.stderr).toContain('[ADMIN_LISTEN]')
      }
    } finally {
      for (const other of others) other.close()
    }
    expect(existsSync(join(folder, 'data'))).toBe(false)
  })

  test('--try asks each sink', async () => {
    const sink = await OneNumberSink.start()
    const { url } = sink
    const env = { SLUICE__MQTT__LISTENERS__0__PORT: '0', SLUICE__ADMIN__PORT: '0' }
    try {
      const found = await runProgram('gateway', ['check', '--try'], {
        cwd: folder,
        env: { ...env, SLUICE__SINKS__CLOUD__URL: url },
      })
      expect(found.stderr).toBe('')
      expect(found.exit.code).toBe(0)
      expect(found.stdout).toMatch(/^# addresses: all of them are free$/m)
      expect(found.stdout).toMatch(/^# sink cloud \(127\.0\.0\.1:\d+\), answer: /m)
    } finally {
      await sink.close()
    }
    const gone = await runProgram('gateway', ['check', '--try'], {
      cwd: folder,
      env: { ...env, SLUICE__SINKS__CLOUD__URL: url },
    })
    expect(gone.exit.code).toBe(1)
    expect(gone.stderr).toMatch(
      /^fault: sink cloud \(127\.0\.0\.1:\d+\), connection: .*\[SINK_NOT_READY\]$/m,
    )
  })

  test('refuses a wrong configuration with exit code 2, every mistake with file, line, key and fix', async () => {
    const config = file('sluice.yaml', 'log:\n  level: loud\nspool: { commitInterval: 50 }\n')
    const { exit, stdout, stderr } = await runProgram('gateway', ['check', '--config', config])
    expect(exit.code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(`${config}:2: log.level: got "loud", wants one of`)
    expect(stderr).toContain(`${config}:3: spool.commitInterval: got 50, wants a duration`)
    expect(stderr).toContain('Fix: add the unit, for example 50s or 50ms.')
  })
})

describe('sluice passwd', () => {
  async function matches(path: string, user: string, password: string): Promise<boolean> {
    const stored = parsePasswordFile(readFileSync(path, 'utf8'), path).get(user)
    return stored !== undefined && verifyPassword(Buffer.from(password), stored)
  }

  test('reads the password from standard input, writes a salted hash, changes and removes', async () => {
    const path = join(folder, 'users')
    const added = await runProgram('gateway', ['passwd', '--file', path, 'press-7'], {
      input: 'hunter2\n',
    })
    expect(added).toMatchObject({
      exit: { code: 0 },
      stdout: `added press-7 in ${path}\n`,
      stderr: '',
    })
    expect(await matches(path, 'press-7', 'hunter2')).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const changed = await runProgram('gateway', ['passwd', '-f', path, 'press-7'], {
      input: 'übung 3',
    })
    expect(changed.stdout).toBe(`changed press-7 in ${path}\n`)
    expect(await matches(path, 'press-7', 'hunter2')).toBe(false)
    expect(await matches(path, 'press-7', 'übung 3')).toBe(true)
    const removed = await runProgram('gateway', ['passwd', '-f', path, '--remove', 'press-7'])
    expect(removed.stdout).toBe(`removed press-7 in ${path}\n`)
    expect(await matches(path, 'press-7', 'übung 3')).toBe(false)
    const again = await runProgram('gateway', ['passwd', '-f', path, '--remove', 'press-7'])
    expect(again).toMatchObject({ exit: { code: 1 }, stdout: '' })
  })

  test('finds the file in the configuration', async () => {
    const config = file('sluice.yaml', 'mqtt: { auth: { passwordFile: users } }\n')
    const { exit } = await runProgram('gateway', ['passwd', '--config', config, 'a'], {
      input: 'b\n',
    })
    expect(exit.code).toBe(0)
    expect(await matches(join(folder, 'users'), 'a', 'b')).toBe(true)
    const found = await runProgram('gateway', ['passwd', 'a'], { input: 'c\n', cwd: folder })
    expect(found.exit.code).toBe(0)
    expect(await matches(join(folder, 'users'), 'a', 'c')).toBe(true)
    rmSync(config)
    const { exit: none, stderr } = await runProgram('gateway', ['passwd', 'a'], {
      input: 'b\n',
      cwd: folder,
    })
    expect(none.code).toBe(2)
    expect(stderr).toContain('name the password file')
  })

  test('with a role, the file is the one of the console', async () => {
    const config = file('sluice.yaml', 'admin: { usersFile: people }\n')
    const args = ['passwd', '--config', config, 'vera', '--role']
    const added = await runProgram('gateway', [...args, 'viewer'], { input: 'b\n' })
    expect(added.stdout).toBe(`added vera in ${join(folder, 'people')}\n`)
    expect(readFileSync(join(folder, 'people'), 'utf8')).toMatch(/^vera:scrypt\$[^:]+:viewer\n$/)
    const { exit } = await runProgram('gateway', [...args, 'root'], { input: 'b\n' })
    expect(exit.code).toBe(2)
  })

  test.each([
    ['', 'the password is empty'],
    ['\n', 'the password is empty'],
    ['a\nb\n', 'more than one line'],
    [Buffer.from([0xff, 0x0a]), 'not UTF-8'],
    ['x'.repeat(70_000), 'at most 65535 bytes'],
  ])('refuses %j', async (input, message) => {
    const path = join(folder, 'users')
    const { exit, stderr } = await runProgram('gateway', ['passwd', '-f', path, 'a'], { input })
    expect(exit.code).toBe(2)
    expect(stderr).toContain(message)
    expect(() => statSync(path)).toThrow()
  })

  testWithTool(
    'script',
    'asks twice on a terminal and shows nothing of what is typed',
    async () => {
      const path = join(folder, 'users')
      const ask = async (first: string, second: string) => {
        const command = `${process.execPath} ${builtProgram('gateway')} passwd -f ${path} a`
        // Typed when asked: what comes earlier the terminal itself would echo.
        const typist = `
        const { spawn } = require('node:child_process')
        const child = spawn('script', ['-qec', process.argv[1], '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
        let seen = ''
        const answers = [['Password: ', process.argv[2]], ['Again: ', process.argv[3]]]
        child.stdout.on('data', (data) => {
          seen += data
          process.stdout.write(data)
          if (answers.length > 0 && seen.includes(answers[0][0])) child.stdin.write(answers.shift()[1])
        })
        child.on('exit', (code) => process.exit(code))`
        return runToEnd(process.execPath, ['-e', typist, command, first, second])
      }
      const typed = await ask('hunter3\r', 'hunter2\r')
      expect(typed.exit.code).toBe(1)
      expect(typed.stdout).toContain('the two passwords differ; nothing was changed')
      const good = await ask('wrong\u0015hunterx\u007F2\r', 'hunter2\r')
      expect(good.stdout).toContain(`added a in ${path}`)
      expect(good.exit.code).toBe(0)
      expect(good.stdout).not.toContain('hunter')
      expect(good.stdout).not.toContain('wrong')
      expect(await matches(path, 'a', 'hunter2')).toBe(true)
      const cancelled = await ask('\u0003', '')
      expect(cancelled.stdout).toContain('cancelled; nothing was changed')
      expect(cancelled.exit.code).toBe(1)
    },
  )
})

describe('the command line', () => {
  test('help lists every command and the exit codes', async () => {
    const { exit, stdout } = await runProgram('gateway', ['--help'])
    expect(exit.code).toBe(0)
    for (const command of [
      'start',
      'check',
      'status',
      'passwd',
      'sinks',
      'dead-letters',
      'spool',
      'streams',
    ])
      expect(stdout).toMatch(new RegExp(`^  ${command}`, 'm'))
    expect(stdout).toContain('Exit codes: 0 done; 1 failed')
  })

  test.each([
    [['bogus']],
    [['start', '--bogus']],
    [['passwd']],
    [['sinks', 'retry']],
    [['check', '--config']],
  ])('wrong usage %j is exit code 2', async (args) => {
    const { exit, stdout, stderr } = await runProgram('gateway', args)
    expect(exit.code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain('error: ')
  })

  test('status without a gateway and without a folder is exit code 1, and creates nothing', async () => {
    const env = { SLUICE__ADMIN__PORT: '1' }
    const { exit, stderr } = await runProgram('gateway', ['status'], { cwd: folder, env })
    expect(exit.code).toBe(1)
    expect(stderr).toContain(`there is no data folder ${folder}/data`)
    expect(() => statSync(join(folder, 'data'))).toThrow()
  })

  test('standard output that cannot be written is said in one line', async () => {
    for (const command of [
      `${builtProgram('gateway')} check`,
      `${builtProgram('device-sim')} --help`,
    ]) {
      const full = `${process.execPath} ${command} >/dev/full`
      const { exit, stderr } = await runToEnd('/bin/sh', ['-c', full], { cwd: folder })
      expect(exit.code).toBe(1)
      expect(stderr).toMatch(/^sluice(-sim)?: standard output cannot be written: ENOSPC[^\n]*\n$/)
    }
  })

  test('warnings of the configuration are for check and start; status does not repeat them', async () => {
    const env = { SLUICE__ADMIN__HOST: '0.0.0.0', SLUICE__ADMIN__PORT: '0' }
    const [check, status] = await Promise.all(
      ['check', 'status'].map((command) => runProgram('gateway', [command], { cwd: folder, env })),
    )
    expect(check?.stderr).toContain(
      'warning: admin.host: on 0.0.0.0 without a token and users only /, /metrics',
    )
    expect(status?.stderr).not.toContain('warning')
  })

  test('a reader that has seen enough is no failure', async () => {
    const { exit, stderr } = await runToEnd(
      '/bin/sh',
      ['-c', `${process.execPath} ${builtProgram('gateway')} check | true`],
      {
        cwd: folder,
      },
    )
    expect(exit.code).toBe(0)
    expect(stderr).not.toContain('EPIPE')
  })

  test('version is that of package.json', async () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    )
    expect((await runProgram('gateway', ['--version'])).stdout).toBe(`${version}\n`)
  })
})

describe('threads of the pool', () => {
  /**
   * Blocks four threads with FIFOs that nobody opens for writing, then asks for a stat: answered
   * only by a fifth.
   * `set`: how the script tries to have more.
   */
  async function fifthThread(
    set: string,
    env: Record<string, string> = {},
    name = 'probe.mjs',
  ): Promise<string> {
    const fifos = Array.from({ length: 4 }, (_, n) => join(folder, `fifo-${n}`))
    for (const path of fifos) execFileSync('mkfifo', [path])
    const script = file(
      name,
      `${set}
       const { open, stat } = process.getBuiltinModule('node:fs')
       for (const path of ${JSON.stringify(fifos)}) open(path, 'r', () => {})
       const stuck = setTimeout(() => console.log('verdict: stuck'), 1_000)
       stat('/', () => { clearTimeout(stuck); console.log('verdict: answered') })`,
    )
    const child = startProcess(process.execPath, [script], { env })
    const line = await child.waitForLine(/^verdict: /)
    for (const path of fifos) rmSync(path)
    await child.reap()
    return line.text
  }

  // From 22 on its loader leaves the pool alone.
  test.runIf(Number.parseInt(process.versions.node, 10) < 22)(
    'under Node 20 an ES module comes too late to set them: its loader has used the pool before',
    async () => {
      expect(await fifthThread(`process.env['UV_THREADPOOL_SIZE'] = '8'`)).toBe('verdict: stuck')
    },
  )

  test('the environment sets them', async () => {
    expect(await fifthThread('', { UV_THREADPOOL_SIZE: '8' })).toBe('verdict: answered')
  })

  test('a CommonJS module is in time, and what it imports afterwards', async () => {
    const set = `process.env['UV_THREADPOOL_SIZE'] = '8'`
    const inner = file('inner.mjs', '')
    const imported = `${set}; void import(${JSON.stringify(inner)})`
    expect(await fifthThread(imported, {}, 'probe.cjs')).toBe('verdict: answered')
  })

  test('the command is one, with a first line that BusyBox understands; start warns where it was passed over', async () => {
    const program = builtProgram('gateway')
    const command = builtFile('gateway/sluice.cjs')
    expect(readFileSync(command, 'utf8').split('\n', 1)).toEqual(['#!/usr/bin/env node'])
    const env = { SLUICE__GATEWAY__DATA_DIR: '/dev/null/no', UV_THREADPOOL_SIZE: '' }
    const args = ['start', '--no-hint']
    const asCommand = await runToEnd(command, args, { env })
    const asScript = await runToEnd(process.execPath, [program, ...args], {
      env: { ...env, UV_THREADPOOL_SIZE: '4' },
    })
    expect(asCommand.exit.code).toBe(1)
    expect(asCommand.stderr).not.toContain('UV_THREADPOOL_SIZE')
    expect(asScript.exit.code).toBe(1)
    expect(asScript.stderr).toContain('share 4 threads; set UV_THREADPOOL_SIZE=8')
  })
})
