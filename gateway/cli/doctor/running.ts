/** What a gateway that runs shows of itself. Pure. */
import { type Finding, findingsOf } from '../../ports/findings.ts'
import type { ConfigReport } from '../../ports/operator.ts'
import type { Status } from '../../ports/status.ts'
import { plainLine } from '../../shared/text/words.ts'
import { type Diagnosis, problem, untold, warning, well } from './diagnosis.ts'

/** A takeover that is older says nothing about today. */
const RECENT_MS = 3_600_000

const STATE_FIX = {
  ok: '',
  'read-only': 'make room on the disk of the data folder: ingest resumes by itself',
  'storage-failed':
    'look for errors of the disk in the log of the kernel (dmesg); writing is tried again every 5 s',
  closed: 'start the gateway again',
} as const

/** `report`: what it has in force; null: it does not say. `own`: version of the command. */
export function runningDiagnoses(
  status: Status,
  report: ConfigReport | null,
  own: string,
): Diagnosis[] {
  const found = findingsOf(status)
  const file = fileDiagnosis(report)
  return [
    version(status, own),
    ...spool(status),
    clientIds(status),
    ...silentDevices(found),
    // That a reload was refused over what is wrong with the file now is the same finding.
    ...(file.standing === 'problem' ? [] : reload(found)),
    file,
  ]
}

function version({ version: running }: Status, own: string): Diagnosis {
  if (running === own) return well('version', `the gateway and this command are ${own}`)
  return warning(
    'version',
    `the gateway that runs is ${running}, this command is ${own}`,
    'restart the gateway, so that it runs what is installed',
  )
}

function spool({ spool: { state, why, damage } }: Status): Diagnosis[] {
  const findings = damage.map((text) =>
    warning(
      'spool',
      `damage: ${plainLine(text)}`,
      'keep what was put aside until you know what was lost; check the disk (smartctl -a)',
    ),
  )
  if (state !== 'ok')
    findings.push(
      problem(
        'spool',
        `it is ${state}${why === null ? '' : `: ${plainLine(why)}`}`,
        STATE_FIX[state],
      ),
    )
  return findings.length === 0 ? [well('spool', 'it takes records')] : findings
}

/** Two clients with one id end each other's connection again and again. */
function clientIds({ broker, at }: Status): Diagnosis {
  const shared = broker?.lastSharedClientId ?? null
  if (shared === null || Date.parse(at) - Date.parse(shared.at) > RECENT_MS)
    return well('client-ids', 'no two clients fight for one')
  const from = shared.addresses.map(plainLine).join(' and ')
  return warning(
    'client-ids',
    `clients from ${from} connect as ${plainLine(shared.clientId)}, and end each other's connection (last at ${shared.at})`,
    shared.addresses.length > 1
      ? 'give each device its own client id'
      : 'give each device there its own client id, or have the one close its old connection first',
  )
}

/** Of streams that have `silentAfter`: without it nobody is silent. */
function silentDevices(found: readonly Finding[]): Diagnosis[] {
  const silent = found
    .filter(({ about }) => about === 'devices')
    .map(({ text }) =>
      warning(
        'silent-devices',
        text,
        'sluice devices --silent names them, with what was last refused of each; sluice devices forget ID ends it for one that is gone for good',
      ),
    )
  const untellable = found
    .filter(({ about }) => about === 'silence')
    .map(({ text }) => untold('silent-devices', text))
  const all = [...silent, ...untellable]
  return all.length > 0 ? all : [well('silent-devices', 'none that a stream waits for is silent')]
}

function reload(found: readonly Finding[]): Diagnosis[] {
  return found
    .filter(({ about }) => about === 'configuration')
    .map(({ text }) =>
      problem('configuration', text, 'correct the file, see sluice check, then sluice reload'),
    )
}

/** What is in force is judged: where does the file say otherwise? null: the gateway does not say. */
function fileDiagnosis(report: ConfigReport | null): Diagnosis {
  if (report === null)
    return untold('configuration', 'the gateway does not say what is in force: the file is judged')
  const { file, path, plan } = report
  if (path === null) return well('configuration', 'there is no file: defaults and environment')
  if (!file.readable)
    return problem(
      'configuration',
      `${path} cannot be used, and what runs goes on: ${file.problems.map(plainLine).join('; ')}`,
      'correct it before the next start, see sluice check; then sluice reload',
    )
  const keys = plan.changes.map(({ key }) => key)
  if (keys.length === 0) return well('configuration', `${path} says what is in force`)
  const restart = plan.refused.map(({ key }) => key)
  return warning(
    'configuration',
    `${path} was changed and is not in force, which is judged here: ${plainLine(keys.join(', '))}`,
    restart.length === 0
      ? 'sluice reload puts it into force; sluice reload --dry-run shows the difference'
      : `restart the gateway for ${plainLine(restart.join(', '))}; sluice reload --dry-run shows the difference`,
  )
}
