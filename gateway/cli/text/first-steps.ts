/** What a person who has just started a gateway wants to know next. Pure. */
import { listenerUrl } from '../../shared/hosts.ts'
import type { CliConfig, ListenerPlace } from '../config.ts'
import type { RunningGateway } from '../context.ts'

const DEVICE = 'press-7'
const PAYLOAD = `'{"celsius":21.4}'`

/** The commands that it shows, as they have to be typed here. */
export interface Commands {
  readonly status: string
  readonly cloud: string
}

/** How to publish, where it goes, where to look; ends with a line feed. */
export function firstSteps(config: CliConfig, gateway: RunningGateway, commands: Commands): string {
  const listeners = config.mqtt.listeners.map((listener, index) => ({
    listener,
    port: gateway.addresses[index]?.port ?? listener.port,
  }))
  const chosen =
    listeners.find(({ listener }) => listener.tls === null && !listener.websocket) ?? listeners[0]
  const lines = [`Gateway ${gateway.gatewayId} is ready.`, '']
  for (const { listener, port } of listeners)
    lines.push(
      `  devices connect to  ${listenerUrl({ ...listener, port, tls: listener.tls !== null })}`,
    )
  for (const { name, target } of gateway.sinks) lines.push(`  sink ${name.padEnd(14)} ${target}`)
  lines.push(`  data folder         ${config.gateway.dataDir}`, '')
  if (chosen !== undefined)
    lines.push('Publish the first reading with one of:', ...publishing(config, chosen), '')
  if (gateway.sinks.some(({ target }) => target === 'http://127.0.0.1:9000/ingest'))
    lines.push(
      'Start the reference cloud beside it (until then readings wait in the spool):',
      `  ${commands.cloud}`,
      '',
    )
  lines.push(
    'Look at it:',
    `  ${commands.status}`,
    `  ${gateway.adminUrl}/  in a browser`,
    `  ${gateway.adminUrl}/metrics  for Prometheus`,
    '',
  )
  lines.push('Ctrl-C stops it.', '')
  return lines.join('\n')
}

function publishing(
  config: CliConfig,
  { listener, port }: { listener: ListenerPlace; port: number },
): string[] {
  const host = listener.host === '0.0.0.0' || listener.host === '::' ? '127.0.0.1' : listener.host
  const auth = listener.auth === undefined ? config.mqtt.auth : listener.auth
  const [stream] = Object.values(config.streams)
  const topic = exampleTopic(stream?.topics[0] ?? '#')
  const user = auth === null ? '' : ' -u USER -P PASSWORD'
  const common = `-h ${host} -p ${port} -i ${DEVICE} -q 1${user} -t ${shellWord(topic)} -m ${PAYLOAD}`
  const commands: string[] = []
  if (!listener.websocket)
    commands.push(`  mosquitto_pub ${common}${listener.tls === null ? '' : ' --cafile CA.pem'}`)
  const protocol = `${listener.websocket ? 'ws' : 'mqtt'}${listener.tls === null ? '' : 's'}`
  const extra =
    protocol === 'mqtt' ? '' : ` -l ${protocol}${listener.tls === null ? '' : ' --ca CA.pem'}`
  commands.push(`  npx mqtt pub ${common}${extra}`)
  return commands
}

/** A topic that the filter matches. */
export function exampleTopic(filter: string): string {
  if (filter === '#') return `plant/${DEVICE}/temp`
  return filter
    .split('/')
    .map((level) => (level === '+' ? DEVICE : level === '#' ? 'temp' : level))
    .join('/')
}

/** Quoted as far as a shell needs it. */
export function shellWord(text: string): string {
  return /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
