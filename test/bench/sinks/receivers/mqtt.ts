/** Mosquitto as its users run it: by its defaults, and with `set_tcp_nodelay true`. */
import { connectAsync } from 'mqtt'
import { Mosquitto } from '../../../sink/mqtt/mosquitto.ts'
import type { Contest } from '../contest.ts'

/** Of the gateway and of the bare one. */
const WINDOW = 20
/** Packets, since Mosquitto counts no PUBLISH at QoS 2 as such: a PUBLISH, and a PUBREL at QoS 2. */
const RECEIVED = '$SYS/broker/messages/received'

interface Setup {
  readonly suffix: string
  readonly lines: readonly string[]
}

const SETUPS: readonly Setup[] = [
  { suffix: '', lines: [] },
  { suffix: '-nodelay', lines: ['set_tcp_nodelay true'] },
]

export const mqttContests: readonly Contest[] = SETUPS.flatMap(({ suffix, lines }) =>
  ([1, 2] as const).map((qos) => ({
    name: `mqtt-qos${qos}${suffix}`,
    tools: ['mosquitto'],
    records: 80_000,
    about: `Mosquitto ${lines.join(', ') || 'by its defaults'}; mqtt.js, window ${WINDOW}`,
    open: async (folder) => {
      const broker = await Mosquitto.start(folder, ['sys_interval 1', ...lines])
      let places = 0
      return {
        place: async () => {
          const before = await receivedOf(broker.url)
          const clientId = `place-${++places}`
          return {
            sink: { type: 'mqtt', url: broker.url, qos, window: WINDOW, clientId },
            bare: { kind: 'mqtt', url: broker.url, qos, window: WINDOW },
            stored: async () => Math.floor(((await receivedOf(broker.url)) - before) / qos),
          }
        },
        close: () => broker.end('SIGKILL'),
      }
    },
  })),
)

/** Packets that it had until now. It says so once a second, if there were more of them. */
async function receivedOf(url: string): Promise<number> {
  const client = await connectAsync(url, { protocolVersion: 5 })
  try {
    const said = new Promise<number>((resolve) => {
      client.on('message', (_topic, payload, { retain }) => {
        // What it says at once is a second old.
        if (!retain) resolve(Number(payload.toString()))
      })
    })
    await client.subscribeAsync(RECEIVED)
    await client.publishAsync('bench', '')
    return await said
  } finally {
    await client.endAsync()
  }
}
