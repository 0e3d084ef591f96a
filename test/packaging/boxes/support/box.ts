/**
 * A root file system of its own, with what is mounted in it, for as long as a test uses it: files of
 * the host under a layer that takes all that is written, or a folder that holds nothing but what the
 * test put there. The network is the host's. Needs root.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type ProcessExit,
  type ProcessOptions,
  type RunningProcess,
  runToEnd,
  startProcess,
} from '../../../support/process.ts'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const MOUNT_MS = 20_000
const RUN_MS = 120_000

/** What {@link Box} needs, of the host. */
export const BOX_TOOLS = ['unshare', 'nsenter', 'chroot', 'mount'] as const

export class Box {
  readonly #folder: string
  readonly #holder: RunningProcess

  private constructor(folder: string, holder: RunningProcess) {
    this.#folder = folder
    this.#holder = holder
  }

  /** `fill` puts files into a root that is empty; without it the root is a layer over the host's. */
  static async start(fill?: (root: string) => void): Promise<Box> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-box-'))
    for (const name of ['root', 'upper', 'work']) mkdirSync(join(folder, name))
    fill?.(join(folder, 'root'))
    const layer = `lowerdir=/,upperdir=${folder}/upper,workdir=${folder}/work`
    const script = [
      'set -e',
      fill === undefined ? `mount -t overlay overlay -o '${layer}' '${folder}/root'` : '',
      `cd '${folder}/root'`,
      'mkdir -p proc dev tmp run',
      'mount --bind /proc proc',
      'mount --rbind /dev dev',
      'echo mounted',
      // Mounts end with the last process that sees them.
      'exec sleep infinity',
    ]
    const holder = startProcess('unshare', ['--mount', 'sh', '-c', script.join('\n')])
    await holder.waitForLine('mounted', MOUNT_MS)
    return new Box(folder, holder)
  }

  start(command: string, args: readonly string[], options: ProcessOptions = {}): RunningProcess {
    const [program, all] = this.#inside(command, args)
    return startProcess(program, all, { ...options, env: { PATH, ...options.env } })
  }

  /** A code other than 0 is the caller's to judge. */
  async run(
    command: string,
    args: readonly string[] = [],
    options: ProcessOptions = {},
  ): Promise<{ readonly exit: ProcessExit; readonly stdout: string; readonly stderr: string }> {
    const [program, all] = this.#inside(command, args)
    return runToEnd(program, all, {
      ...options,
      env: { PATH, ...options.env },
      timeoutMs: RUN_MS,
    })
  }

  /** Of a shell command. @throws when it fails */
  async sh(script: string): Promise<string> {
    const { exit, stdout, stderr } = await this.run('/bin/sh', ['-c', script])
    if (exit.code !== 0) throw new Error(`${script}: exit code ${exit.code}\n${stdout}${stderr}`)
    return stdout
  }

  async write(path: string, text: string | Uint8Array): Promise<void> {
    await this.run('/bin/sh', ['-c', `cat > '${path}'`], { input: text })
  }

  async close(): Promise<void> {
    await this.#holder.reap()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #inside(command: string, args: readonly string[]): readonly [string, string[]] {
    const enter = ['--target', String(this.#holder.pid), '--mount']
    // Absolute: the host's programs, before the root changes.
    return ['nsenter', [...enter, 'chroot', join(this.#folder, 'root'), command, ...args]]
  }
}
