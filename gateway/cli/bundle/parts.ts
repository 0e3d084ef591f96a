/**
 * The parts of a support bundle, each gathered for itself: one that cannot be had is named in the
 * manifest, with the reason, and keeps no other from it.
 */
import { readFile } from 'node:fs/promises'
import { arch, cpus, release, totalmem, uptime } from 'node:os'
import { errorMessage } from '../../shared/errors.ts'
import type { CliContext, ConfiguredGateway } from '../context.ts'
import { examine, runningFacts } from '../doctor/examine.ts'
import { reportText } from '../doctor/report.ts'
import { offlineStatus } from '../find-gateway.ts'
import type { HttpOperator } from '../http-operator.ts'
import { allWarnings, type Located } from '../options.ts'
import { inventoryOf } from './inventory.ts'
import type { TarEntry } from './tar.ts'

/** The end of a log file: some thousand lines. */
const MAX_LOG_BYTES = 1024 * 1024

interface Missing {
  readonly name: string
  readonly why: string
}

export interface BundleParts {
  readonly entries: readonly TarEntry[]
  readonly missing: readonly Missing[]
}

interface BundleSource {
  readonly context: CliContext
  /** What --config names or what is at a default place. */
  readonly locate: () => Promise<Located>
  /** The gateway that runs; null: none was found. */
  readonly find: (located: Located) => Promise<HttpOperator | null>
  /** A file with the gateway's log; null: that of the running gateway. */
  readonly logFile: string | null
}

export async function gatherParts(source: BundleSource): Promise<BundleParts> {
  const parts = new Gathering()
  await parts.add('machine.json', async () => json(machine(source.context)))
  const located = await source.locate()
  const { refusal } = located
  // A configuration that is refused is often why somebody asks.
  if (refusal !== null)
    await parts.add('configuration-problems.txt', async () => `${refusal.error.message}\n`)
  const running = await source.find(located).catch(() => null)
  await parts.add('recent-log.ndjson', () => log(source.logFile, running))
  const configured =
    refusal === null ? located.configured : await inForce(located.configured, running)
  if (configured === null) return parts
  await parts.add('configuration.yaml', async () => configured.yaml())
  await parts.add('warnings.txt', async () => {
    const { warnings } = await allWarnings(configured)
    return warnings.map((one) => `${one}\n`).join('')
  })
  await parts.take('status.json', running === null ? null : () => running.status())
  // Before the folder of a stopped gateway is opened: from then on the command is its owner.
  await parts.add('doctor.json', () => doctor(configured, source.context, running, parts))
  await parts.add('metrics.txt', () => askRunning(running, '/metrics'))
  await parts.add('data-folder.json', async () =>
    json(await inventoryOf(configured.config.gateway.dataDir)),
  )
  if (running === null) await parts.take('status.json', () => offlineStatus(configured))
  return parts
}

/** Of a gateway that runs while its file is refused; null: it does not run, or does not say. */
async function inForce(
  located: ConfiguredGateway,
  running: HttpOperator | null,
): Promise<ConfiguredGateway | null> {
  const report = await running?.config().catch(() => null)
  return report == null ? null : (await located.inForce(report)).configured
}

async function doctor(
  configured: ConfiguredGateway,
  context: CliContext,
  running: HttpOperator | null,
  parts: Gathering,
): Promise<string> {
  const report = await examine(configured, context, await runningFacts(running).catch(() => null))
  await parts.add('doctor.txt', async () => reportText(report, false))
  return json(report)
}

async function log(file: string | null, running: HttpOperator | null): Promise<string> {
  if (file === null) return askRunning(running, '/api/log')
  const bytes = await readFile(file)
  const end = bytes.subarray(-MAX_LOG_BYTES).toString('utf8')
  return bytes.length > MAX_LOG_BYTES ? end.slice(end.indexOf('\n') + 1) : end
}

async function askRunning(running: HttpOperator | null, path: string): Promise<string> {
  if (running === null) throw new Error('the gateway does not run, or was not found')
  return running.text(path)
}

function machine({ version }: CliContext): object {
  return {
    version,
    node: process.versions.node,
    libraries: { openssl: process.versions.openssl, uv: process.versions.uv },
    platform: process.platform,
    architecture: arch(),
    kernel: release(),
    processors: cpus().length,
    memoryBytes: totalmem(),
    uptimeSeconds: Math.round(uptime()),
    user: process.getuid?.() ?? null,
  }
}

class Gathering implements BundleParts {
  readonly entries: TarEntry[] = []
  readonly missing: Missing[] = []

  async add(name: string, make: () => Promise<string>): Promise<void> {
    try {
      this.entries.push({ name, content: await make() })
    } catch (error) {
      this.missing.push({ name, why: errorMessage(error) })
    }
  }

  /** The same as JSON, and what it is; null: it cannot be had, or `make` is null. */
  async take<T>(name: string, make: (() => Promise<T>) | null): Promise<T | null> {
    let value: T | null = null
    if (make === null) return value
    await this.add(name, async () => {
      value = await make()
      return json(value)
    })
    return value
  }
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}
