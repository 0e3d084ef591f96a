/** A real HAProxy on a configuration, with its statistics; ended with {@link reapProcesses}. */
import { once } from 'node:events'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningProcess, runToEnd, startProcess } from './process.ts'
import { findTool } from './tools.ts'

/** One line of `show stat`, by the names of its columns. */
export type HaproxyStat = Readonly<Record<string, string>>

export class Haproxy {
  readonly folder: string
  readonly process: RunningProcess

  private constructor(folder: string, running: RunningProcess) {
    this.folder = folder
    this.process = running
  }

  /** `text`: a configuration; a `global` section with the socket of statistics is put before it. */
  static async start(text: string, env: Readonly<Record<string, string>> = {}): Promise<Haproxy> {
    const { file, folder } = await written(text)
    const running = startProcess(program(), ['-db', '-f', file], { env })
    const haproxy = new Haproxy(folder, running)
    await haproxy.#untilUp()
    return haproxy
  }

  /** Every line of `show stat`. */
  async stats(): Promise<HaproxyStat[]> {
    const [head = '', ...lines] = (await this.command('show stat')).trim().split('\n')
    const names = head.replace(/^# /, '').split(',')
    return lines.map((line) => {
      const values = line.split(',')
      return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
    })
  }

  /** Of one server of a backend. */
  async server(backend: string, name: string): Promise<HaproxyStat> {
    const found = (await this.stats()).find(
      ({ pxname, svname }) => pxname === backend && svname === name,
    )
    if (found === undefined) throw new Error(`no server ${name} in ${backend}`)
    return found
  }

  async command(line: string): Promise<string> {
    const socket = createConnection(join(this.folder, 'stats'))
    await once(socket, 'connect')
    socket.end(`${line}\n`)
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    return answer
  }

  async end(): Promise<void> {
    await this.process.reap()
  }

  async #untilUp(): Promise<void> {
    for (let n = 0; ; n += 1) {
      if (this.process.exit !== null) throw new Error(`haproxy ended: ${this.process.stderr}`)
      try {
        await this.command('show info')
        return
      } catch (error) {
        if (n === 500) throw error
        await new Promise((resolve) => {
          setTimeout(resolve, 10)
        })
      }
    }
  }
}

/** What `haproxy -c` says of a configuration as it is; empty: nothing to complain of. */
export async function checkHaproxy(
  file: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly output: string }> {
  const { exit, stdout, stderr } = await runToEnd(program(), ['-c', '-f', file], { env })
  return { code: exit.code, output: `${stdout}${stderr}` }
}

function program(): string {
  const path = findTool('haproxy')
  if (path === null) throw new Error('haproxy is missing')
  return path
}

async function written(text: string): Promise<{ readonly file: string; readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-haproxy-'))
  const file = join(folder, 'haproxy.cfg')
  await writeFile(file, `global\n  stats socket ${folder}/stats level admin\n${text}`)
  return { file, folder }
}
