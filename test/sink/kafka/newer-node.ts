/**
 * A newer Node than the one that runs the tests, and the Kafka client, which wants it: both from
 * npm, in fixed versions, in a folder of their own that later runs find again. The gateway and its
 * tests run under it as they are; only where the client lies is told to it (resolve-client.mjs).
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sourcePath } from '../../support/source-path.ts'

const NODE = `node-linux-${process.arch}`
const NODE_VERSION = '22.23.1'
const CLIENT = '@platformatic/kafka'
const CLIENT_VERSION = '2.12.1'
const INSTALL_MS = 120_000

export interface NewerNode {
  /** The program. */
  readonly path: string
  readonly env: Readonly<Record<string, string>>
}

/** Of Debian's librdkafka-dev: the cluster that the client is tested against. */
const MOCK_HEADER = '/usr/include/librdkafka/rdkafka_mock.h'

/** Where both are, installed if they were not. @throws what npm says */
function installed(): string {
  const folder = join(tmpdir(), `sluice-node-${NODE_VERSION}-kafka-${CLIENT_VERSION}`)
  if (!existsSync(folder)) install(folder)
  return folder
}

/** The program alone, for what needs no client. @throws what npm says */
export function newerNodeProgram(): string {
  return programIn(installed())
}

function programIn(folder: string): string {
  return join(folder, 'node_modules', NODE, 'bin', 'node')
}

/** @throws what is missing, in words, or what npm says */
export function newerNode(): NewerNode {
  if (!existsSync(MOCK_HEADER)) throw new Error(`needs librdkafka-dev: ${MOCK_HEADER} is missing`)
  const folder = installed()
  const hook = sourcePath('test/sink/kafka/resolve-client.mjs')
  return {
    path: programIn(folder),
    env: {
      NODE_PATH: join(folder, 'node_modules'),
      NODE_OPTIONS: `--import ${hook}`,
      SLUICE_KAFKA_CLIENT: folder,
    },
  }
}

function install(folder: string): void {
  const fresh = mkdtempSync(join(tmpdir(), 'sluice-node-'))
  const packages = [`${NODE}@${NODE_VERSION}`, `${CLIENT}@${CLIENT_VERSION}`]
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--loglevel=error']
  try {
    // The older Node of these tests installs what it would not run.
    const args = ['install', `--prefix=${fresh}`, '--engine-strict=false', ...flags, ...packages]
    execFileSync('npm', args, { cwd: fresh, stdio: 'pipe', timeout: INSTALL_MS })
    renameSync(fresh, folder)
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    // Another test was quicker.
    if (!existsSync(folder)) throw error
  }
}
