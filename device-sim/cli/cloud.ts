/**
 * `sluice-sim cloud`: the reference sink of the ingest contract on its own. Flags to options, a line while it runs.
 */
import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import { z } from 'zod'
import { Cloud, type CloudOptions } from '../cloud/cloud.ts'
import { faultSchedule } from '../cloud/faults/fault-schedule.ts'
import { type FaultSpec, faultProblem } from '../cloud/faults/faults.ts'
import { MATCH_FORMS } from '../cloud/faults/record-match.ts'
import { FORM_NAMES, type FormName } from '../cloud/forms/registry.ts'
import { count } from '../table.ts'
import { type Arrivals, showArrivals } from './arrivals.ts'
import { positiveNumber, wholeNumber } from './options.ts'
import { showProgress } from './progress.ts'

interface Flags {
  readonly host: string
  readonly port: number
  readonly adminPort?: number
  readonly store: string
  readonly format: FormName
  readonly tokenFile?: string
  readonly cert?: string
  readonly key?: string
  readonly maxBody: number
  readonly sync: boolean
  readonly fault: readonly FaultSpec[]
  readonly badDay?: number
  readonly seed: number
  readonly quiet?: boolean
}

const MIB = 1024 * 1024

const HELP = `
Readings are shown as they arrive: one of each device, at most five a second. POST /ingest takes batches. GET / is a page
for a browser. GET /stats, /metrics (Prometheus), /records?stream=... and /faults show what it has and
does; POST /faults sets faults while it runs. With --admin-port these are also on a port that stays up in an outage.

Faults are JSON objects: {"kind": ..., "afterMs": 0, "forMs": ..., "count": ..., "share": 1, "stream": ...}
  outage         mode refuse (nobody listens), reset, or 503
  busy           status 429 or 503, retryAfter {"seconds": 5} or {"dateSeconds": 5}
  slow           delayMs
  drop-request   cut before storing            lost-answer    stored, then cut
  half-open      stored, never answered        partial        stores the share keep of a batch
  refuse         refuses records that match    portal         200 with HTML
  status         answers status

A refuse fault names the records in match: ${MATCH_FORMS}.
as "listed" names them in "rejected" (the default), as "status" answers status (422) for the whole batch.

With --format the bodies are of that form, and records are known by what the sink's format puts there:
  ndjson, raw, json-array, json, cloudevents-batch, es-bulk, json-each-row, otlp-logs   by default
  template   text: '{"id":"\${id}","device":"\${device}","topic":"\${topic}","data":\${payload}}'
  influx     tags: { id: "\${id}", device: "\${device}", payload: "json:\${payload}" }

Examples:
  sluice-sim cloud --store ./cloud
  sluice-sim cloud --fault '{"kind":"outage","afterMs":10000,"forMs":60000}' --fault '{"kind":"lost-answer","share":0.1}'
  curl -d '{"faults":[{"kind":"busy","retryAfter":{"seconds":5},"count":3}]}' http://127.0.0.1:9000/faults`

export function cloudCommand(): Command {
  return new Command('cloud')
    .description(
      'run the reference cloud: a sink of the ingest contract that stores every record once',
    )
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0: any that is free', wholeNumber(0, 65_535), 9000)
    .option('--admin-port <n>', 'second port for everything but ingest', wholeNumber(0, 65_535))
    .option('--store <folder>', 'where records are kept; created if need be', './cloud-data')
    .addOption(
      new Option('--format <kind>', 'form of the bodies that gateways send')
        .choices(FORM_NAMES)
        .default('ndjson'),
    )
    .option('--token-file <file>', 'file with the bearer token that gateways must show')
    .option('--cert <file>', 'PEM file of a certificate: serve ingest over TLS')
    .option('--key <file>', 'PEM file of its key')
    .option('--max-body <MiB>', 'longest body, uncompressed too; above it: 413', positiveNumber, 64)
    .option('--no-sync', 'answer before fsync: faster, and a power cut may lose records')
    .addOption(
      new Option('--fault <json>', 'a fault from the start; may be repeated')
        .argParser(collectFaults)
        .default([], 'none'),
    )
    .option('--bad-day <seconds>', 'a seeded mix of faults within this time', positiveNumber)
    .option('--seed <n>', 'decides random faults', wholeNumber(0), 1)
    .option('--quiet', 'no readings, no progress')
    .addHelpText('after', HELP)
    .action(async (flags: Flags) => {
      let arrivals: Arrivals | null = null
      const options = { ...cloudOptions(flags), onStored: () => arrivals?.notice() }
      const cloud = await Cloud.start(options).catch((error: unknown) => {
        throw error instanceof z.ZodError ? new Error(`--fault: ${faultProblem(error)}`) : error
      })
      process.stdout.write(`cloud: gateways POST batches to ${cloud.url}\n`)
      process.stdout.write(
        `cloud: look at ${cloud.adminUrl}/ in a browser; records are kept in ${flags.store}\n`,
      )
      const progress = flags.quiet === true ? null : showProgress(() => progressLine(cloud))
      if (progress !== null)
        arrivals = showArrivals(
          cloud.latest,
          (line) => progress.note(line),
          () => process.stderr.columns,
        )
      await new Promise<void>((resolve) => {
        process.once('SIGINT', () => resolve())
        process.once('SIGTERM', () => resolve())
      })
      arrivals?.stop()
      progress?.stop()
      await cloud.close()
    })
}

function cloudOptions(flags: Flags): CloudOptions {
  if ((flags.cert === undefined) !== (flags.key === undefined)) {
    throw new Error('--cert and --key go together')
  }
  const badDay =
    flags.badDay === undefined
      ? []
      : faultSchedule({ seed: flags.seed, durationMs: flags.badDay * 1000 })
  return {
    dir: flags.store,
    form: flags.format,
    host: flags.host,
    port: flags.port,
    ...(flags.adminPort === undefined ? {} : { adminPort: flags.adminPort }),
    ...(flags.cert === undefined || flags.key === undefined
      ? {}
      : { tls: { cert: readFileSync(flags.cert), key: readFileSync(flags.key) } }),
    bearerToken:
      flags.tokenFile === undefined
        ? null
        : readFileSync(flags.tokenFile, 'utf8').replace(/\r?\n$/, ''),
    maxBodyBytes: Math.floor(flags.maxBody * MIB),
    sync: flags.sync,
    seed: flags.seed,
    faults: [...flags.fault, ...badDay],
  }
}

function collectFaults(text: string, earlier: readonly FaultSpec[]): readonly FaultSpec[] {
  try {
    // Its members are checked where rules are set.
    return [...earlier, JSON.parse(text) as FaultSpec]
  } catch (error) {
    throw new InvalidArgumentError(`Want a JSON object, got ${text} (${(error as Error).message}).`)
  }
}

function progressLine(cloud: Cloud): string {
  const { stats } = cloud
  const fired = Object.entries(stats.faults).filter(([, times]) => times > 0)
  return [
    `requests ${count(stats.requests)}`,
    `records ${count(stats.records)}`,
    `repeats removed ${count(stats.repeats)}`,
    `gaps ${count(stats.gaps)}`,
    `silent gaps ${count(stats.missingSeqs)}`,
    `violations ${count(stats.violations)}`,
    ...fired.map(([kind, times]) => `${kind} ${times}`),
  ].join('  ')
}
