/** What the doctor asks the machine: files, ports, and who sets the clock. Judges nothing. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import type { NamedPath } from '../context.ts'
import { readChronyc, readTimedatectl } from './clock.ts'
import type { FileFacts } from './files.ts'

const run = promisify(execFile)
const TOOL_TIMEOUT_MS = 3_000
const CONNECT_TIMEOUT_MS = 3_000

export function fileFacts(paths: readonly NamedPath[]): Promise<FileFacts[]> {
  return Promise.all(
    paths.map(async (named) => ({
      ...named,
      mode: await stat(named.path).then(
        ({ mode }) => mode,
        () => null,
      ),
      text:
        named.holds === 'certificate' ? await readFile(named.path, 'utf8').catch(() => null) : null,
    })),
  )
}

/** null: nobody here knows. */
export async function isClockSynchronized(env: NodeJS.ProcessEnv): Promise<boolean | null> {
  const ask = (tool: string, args: readonly string[]): Promise<string> =>
    run(tool, args, { env, timeout: TOOL_TIMEOUT_MS }).then(
      ({ stdout }) => stdout,
      () => '',
    )
  const property = ['show', '--property=NTPSynchronized', '--value']
  const said = readTimedatectl(await ask('timedatectl', property))
  return said ?? readChronyc(await ask('chronyc', ['-n', 'tracking']))
}

/** Does somebody take connections there? */
export async function takesConnections(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) })
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
