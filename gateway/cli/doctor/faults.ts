/** What a start would refuse, as diagnoses. Pure. */
import { errorCode } from '../../shared/errors.ts'
import type { HostWarning, Trial } from '../context.ts'
import { type Check, type Diagnosis, problem, untold, warning, well } from './diagnosis.ts'

/** By the code of the fault; its message names file, key or port. */
const FIXES: Readonly<Record<string, readonly [check: Check, fix: string]>> = {
  SLUICE_FOLDER_UNUSABLE: [
    'data-folder',
    "give the folder to the gateway's user (chown), or set gateway.dataDir to another one",
  ],
  LISTENER_ADDRESS_IN_USE: ['ports', 'stop the other program (ss -ltnp), or choose another port'],
  LISTENER_ADDRESS_UNAVAILABLE: ['ports', 'use an address of this machine (ip address)'],
  LISTENER_HOST_UNKNOWN: ['ports', 'use an IP address'],
  LISTENER_NOT_PERMITTED: ['ports', 'use a port from 1024 on, or set AmbientCapabilities='],
  LISTENER_NEEDS_AUTH: ['ports', 'set mqtt.auth, listen on 127.0.0.1, or set mqtt.allowAnonymous'],
  LISTENER_TLS_UNUSABLE: ['files', 'put a PEM certificate and its own key there'],
  ADMIN_LISTEN: ['ports', 'stop the other program (ss -ltnp), or change admin.port'],
  AUTH_FILE_UNREADABLE: ['files', "make it readable for the gateway's user, or correct the path"],
  AUTH_FILE_INVALID: ['files', 'correct the line that it names'],
  SINK_PACKAGE_MISSING: ['files', 'run the command that it names, then start the gateway again'],
}

const OTHERWISE: readonly [Check, string] = [
  'files',
  "make it readable for the gateway's user, or correct the path",
]

export function faultDiagnoses(faults: readonly Error[]): Diagnosis[] {
  const found = faults.map((fault) => {
    const code = errorCode(fault)
    const [check, fix] = FIXES[code ?? ''] ?? OTHERWISE
    return problem(check, `${fault.message}${code === null ? '' : ` [${code}]`}`, fix)
  })
  const isFileFault = found.some(({ check }) => check === 'files')
  return isFileFault ? found : [...found, well('files', 'what the configuration names can be read')]
}

export function folderDiagnosis({ folder }: Trial, dataDir: string): Diagnosis {
  if (folder === null)
    return untold('data-folder', `${dataDir} is not there yet: the first start makes it`)
  if ('fault' in folder)
    return problem('data-folder', folder.fault.message, FIXES['SLUICE_FOLDER_UNUSABLE']?.[1] ?? '')
  return well('data-folder', `${dataDir} takes files`)
}

export function hostDiagnoses(warnings: readonly HostWarning[], node: string): Diagnosis[] {
  const found = warnings.map(({ because, text }) =>
    warning(
      because,
      text,
      because === 'memory'
        ? 'give the machine or the control group more memory, or write smaller limits'
        : 'raise LimitNOFILE= of the unit or ulimit -n, or write a smaller limit',
    ),
  )
  const missing = (['memory', 'descriptors'] as const).filter(
    (check) => !warnings.some(({ because }) => because === check),
  )
  return [
    ...found,
    ...missing.map((check) => well(check, 'enough for the limits of the configuration')),
    nodeDiagnosis(node),
  ]
}

/** As package.json has it. */
const OLDEST_NODE = [20, 19] as const

function nodeDiagnosis(node: string): Diagnosis {
  const [major = 0, minor = 0] = node.split('.').map(Number)
  const isOld = major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])
  if (!isOld) return well('version', `Node ${node}`)
  return problem(
    'version',
    `Node ${node} is older than ${OLDEST_NODE.join('.')}`,
    'install a newer Node, then start the gateway again',
  )
}
