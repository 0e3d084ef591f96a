/** What the probes of the sinks found, and what to do about it. Pure. */
import type { ProbeStep, SinkProbe } from '../../ports/sink.ts'
import { type Diagnosis, problem, untold, warning, well } from './diagnosis.ts'

/** By the step that failed. The detail says what was seen; these say where to look. */
const FIXES: Readonly<Record<string, string>> = {
  settings: 'put the file there that the sink names, readable for the gateway',
  library: 'install the client library, as the message says',
  name: "correct the host of the sink, or this machine's name servers (/etc/resolv.conf)",
  connection: 'start the receiver, correct host and port, or open the way to it in the firewall',
  proxy: 'correct proxy of the sink, or have the proxy let this machine through',
  tls: 'renew or replace the certificate there, or name its authority in tls.ca of the sink',
  auth: 'correct auth of the sink, or the file that its secret is in',
  answer: 'correct the address or the credentials of the sink, as its answer says',
}

const TEST_FIX = (sink: string): string =>
  `see whether records get through: sluice sinks test ${sink} sends a marked one and explains the answer`

/** `untried`: sinks whose secret in force is not known here. */
export function sinkDiagnoses(
  probes: readonly SinkProbe[],
  untried: readonly string[] = [],
): Diagnosis[] {
  const unknown = untried.map((sink) =>
    untold('sink', 'not asked: the file does not hold the secret that is in force', sink),
  )
  const known = probes.flatMap(({ sink, target, steps }) => {
    if (steps.length === 0) return [untold('sink', `${target}: nothing was tried`, sink)]
    return steps.map((step) => diagnosis(sink, target, step))
  })
  return [...known, ...unknown]
}

function diagnosis(sink: string, target: string, { step, verdict, detail }: ProbeStep): Diagnosis {
  const said = `${target}, ${step}: ${detail}`
  if (verdict === 'ok') return well('sink', said, sink)
  const fix = FIXES[step] ?? TEST_FIX(sink)
  return verdict === 'problem' ? problem('sink', said, fix, sink) : warning('sink', said, fix, sink)
}
