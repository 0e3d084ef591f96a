/**
 * `sluice devices`: who was seen when, how much it sends, what was refused of it, who is silent; and
 * to forget one. Works on the running gateway and on the folder of a stopped one.
 */
import { Command, Option } from 'commander'
import type { DeviceQuery, DeviceRow, DeviceSort } from '../../ports/devices.ts'
import { findingsOf } from '../../ports/findings.ts'
import type { Operator } from '../../ports/operator.ts'
import { count, plainLine, span, table } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT } from '../exit.ts'
import { type OperatorFlags, runningGateway, withGateway, withOperator } from '../find-gateway.ts'
import { NotRunningError } from '../http-operator.ts'
import { wholeNumber } from '../options.ts'

/** Devices of one request. */
const PAGE = 1_000

interface DevicesFlags extends OperatorFlags {
  readonly search: string
  readonly sort: DeviceSort
  readonly silent?: boolean
  readonly limit: number
  readonly json?: boolean
}

export function devicesCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('devices'))
    .description('who was seen when, and who is silent')
    .option('-S, --search <text>', 'whose id holds this, whatever its case', '')
    .addOption(
      new Option('--sort <order>', 'lastSeen: latest first; name; rate: busiest first')
        .choices(['lastSeen', 'name', 'rate'])
        .default('lastSeen'),
    )
    .option('--silent', 'those that are silent, and no others')
    .option('-n, --limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 50)
    .option('--json', 'one JSON object a line')
    .action(async (flags: DevicesFlags) => {
      await withGateway(flags, context, ({ operator }) => show(flags, operator, context))
      done(EXIT.ok)
    })
    .addCommand(forgetCommand(context, done))
}

function forgetCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('forget'))
    .description('of one that is gone for good: nobody waits for it any more (running gateway)')
    .argument('<id>', 'its client id')
    .action(async (id: string, flags: OperatorFlags) => {
      const gateway = await runningGateway(flags, context)
      try {
        await gateway.forgetDevice(id)
      } catch (error) {
        if (!(error instanceof NotRunningError)) throw error
        throw new CliError(EXIT.failed, `${error.message}; start the gateway for it`, error)
      }
      context.stdout.write(`${plainLine(id)} is forgotten; a new connection makes it known again\n`)
      done(EXIT.ok)
    })
}

async function show(flags: DevicesFlags, operator: Operator, context: CliContext): Promise<void> {
  const { found, total } = await collect(flags, operator)
  const unjudged = findingsOf(await operator.status()).filter(({ about }) => about === 'silence')
  for (const { text } of unjudged) context.stderr.write(`${text}\n`)
  if (flags.json === true) {
    for (const device of found) context.stdout.write(`${JSON.stringify(device)}\n`)
    return
  }
  if (total === 0) {
    context.stdout.write(flags.silent === true ? 'no device is silent\n' : 'no device is known\n')
    return
  }
  context.stdout.write(`${deviceTable(found, Date.now())}\n`)
  if (found.length < total)
    context.stderr.write(`${count(found.length)} of ${count(total)}; --limit shows more\n`)
}

async function collect(
  { search, sort, silent = false, limit }: DevicesFlags,
  operator: Operator,
): Promise<{ readonly found: readonly DeviceRow[]; readonly total: number }> {
  const found: DeviceRow[] = []
  let total = 0
  let after: string | null = null
  do {
    const most = Math.min(PAGE, limit - found.length)
    const query: DeviceQuery = { search, sort, silent, limit: most, after }
    const page = await operator.devices(query)
    found.push(...page.devices)
    total = page.total
    after = page.next
  } while (after !== null && found.length < limit)
  return { found, total }
}

function deviceTable(devices: readonly DeviceRow[], nowMs: number): string {
  const header = ['DEVICE', 'NOW', 'LAST SEEN', 'A MINUTE', 'MESSAGES', 'LAST TOPIC', 'REFUSED']
  const rows = devices.map((device) => [
    plainLine(device.id),
    standing(device, nowMs),
    ago(device.lastSeenAtMs, nowMs),
    count(Math.round(device.messagesPerMinute)),
    count(device.messages),
    device.lastTopic === null ? '-' : plainLine(device.lastTopic),
    refusal(device, nowMs),
  ])
  return table([header, ...rows])
}

function standing({ connected, silentSinceMs }: DeviceRow, nowMs: number): string {
  if (silentSinceMs !== null) return `SILENT for ${span(secondsSince(silentSinceMs, nowMs))}`
  return connected ? 'connected' : 'away'
}

function refusal({ lastRefusal }: DeviceRow, nowMs: number): string {
  if (lastRefusal === null) return '-'
  const { atMs, detail, reason } = lastRefusal
  return `${ago(atMs, nowMs)}: ${plainLine(reason)}${detail === '' ? '' : ` (${plainLine(detail)})`}`
}

function ago(atMs: number, nowMs: number): string {
  return `${span(secondsSince(atMs, nowMs))} ago`
}

/** Clocks are set back. */
function secondsSince(atMs: number, nowMs: number): number {
  return Math.max(0, (nowMs - atMs) / 1_000)
}
