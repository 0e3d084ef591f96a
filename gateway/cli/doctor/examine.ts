/**
 * The doctor: asks the machine, the folder, the sinks and the gateway that runs, and gathers what
 * each check says. Changes nothing; what is tried out is what `sluice check --try` tries.
 */
import type { ConfigReport, RunningOperator } from '../../ports/operator.ts'
import type { Status } from '../../ports/status.ts'
import { hostAndPort } from '../../shared/hosts.ts'
import type { CliConfig } from '../config.ts'
import type { CliContext, ConfiguredGateway, Trial } from '../context.ts'
import { clockDiagnoses, skewDiagnoses } from './clock.ts'
import { type Diagnosis, problem, well } from './diagnosis.ts'
import { diskDiagnoses, syncDiagnosis } from './disk.ts'
import { fileFacts, isClockSynchronized, takesConnections } from './facts.ts'
import { faultDiagnoses, folderDiagnosis, hostDiagnoses } from './faults.ts'
import { fileSystemOf } from './file-system.ts'
import { certificateDiagnoses, permissionDiagnoses } from './files.ts'
import { type DoctorReport, doctorReport } from './report.ts'
import { runningDiagnoses } from './running.ts'
import { sinkDiagnoses } from './sinks.ts'

/** What a gateway that runs says of itself. */
interface Running {
  readonly status: Status
  /** null: it does not say what is in force. */
  readonly report: ConfigReport | null
}

/** null: none was found. */
export async function runningFacts(running: RunningOperator | null): Promise<Running | null> {
  if (running === null) return null
  // One of an older version does not say it.
  const report = await running.config().catch(() => null)
  return { status: await running.status(), report }
}

/** Of a gateway that runs, what is in force is judged; else what was loaded. */
export async function examine(
  loaded: ConfiguredGateway,
  context: CliContext,
  running: Running | null,
): Promise<DoctorReport> {
  const { status, report } = running ?? { status: null, report: null }
  const { configured, untried } =
    report === null ? { configured: loaded, untried: [] } : await loaded.inForce(report)
  const { config } = configured
  const { dataDir } = config.gateway
  const nowMs = Date.now()
  const node = process.versions.node
  const trial = await configured.tryOut()
  const { folder } = trial
  const files = await fileFacts(configured.namedPaths())
  const diagnoses = [
    folderDiagnosis(trial, dataDir),
    ...diskDiagnoses(config, await fileSystemOf(dataDir)),
    syncDiagnosis(folder === null || 'fault' in folder ? null : folder.syncMs),
    ...hostDiagnoses(await configured.hostWarnings(trial.ownerPid), node),
    ...clockDiagnoses(nowMs, await isClockSynchronized(context.env)),
    ...faultDiagnoses([...(await startFaults(configured, trial)), ...trial.addressFaults]),
    ...permissionDiagnoses(files),
    ...certificateDiagnoses(files, nowMs),
    ...(await portDiagnoses(config, trial)),
    ...sinkDiagnoses(trial.probes, untried),
    ...(status === null
      ? []
      : [...runningDiagnoses(status, report, context.version), ...skewDiagnoses(status)]),
  ]
  const at = new Date(nowMs).toISOString()
  const { version } = context
  return doctorReport({ version, node, at, running: status !== null }, diagnoses)
}

/** The folder's fault is found by trying as well: it is told once. */
async function startFaults(configured: ConfiguredGateway, { folder }: Trial): Promise<Error[]> {
  const faults = await configured.findFaults()
  if (folder === null || !('fault' in folder)) return faults
  return faults.filter((fault) => !('code' in fault && fault.code === 'SLUICE_FOLDER_UNUSABLE'))
}

/** Of a gateway that runs: does each address take connections? Else trying them out has said it. */
async function portDiagnoses(config: CliConfig, trial: Trial): Promise<Diagnosis[]> {
  const places = [...config.mqtt.listeners, config.admin].filter(({ port }) => port !== 0)
  if (trial.ownerPid === null)
    return trial.addressFaults.length > 0 ? [] : [well('ports', 'all of them are free')]
  return Promise.all(
    places.map(async ({ host, port }) => {
      const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
      const address = hostAndPort(host, port)
      if (await takesConnections(reachable, port))
        return well('ports', 'it takes connections', address)
      return problem(
        'ports',
        `process ${trial.ownerPid} owns the data folder, and nobody takes connections there`,
        'restart the gateway: it may run with another configuration; its log says what it listens on',
        address,
      )
    }),
  )
}
