/** mqtt.js with a window: as one message is acknowledged the next one leaves, over all batches. */
import { connectAsync } from 'mqtt'
import type { Sender } from './sender.ts'
import type { BareTask } from './task.ts'
import { Window } from './window.ts'

export async function mqttSender(task: Extract<BareTask, { kind: 'mqtt' }>): Promise<Sender> {
  const { url, qos } = task
  const client = await connectAsync(url, { clientId: `bare-${process.pid}`, reconnectPeriod: 0 })
  const window = new Window(task.window)
  return {
    send: async ({ records, payloads }) => {
      for (const [i, { topic }] of records.entries()) {
        if (window.isFull) await window.hasRoom()
        window.sent()
        client.publish(topic, payloads[i] ?? '', { qos }, window.acknowledged)
      }
    },
    finish: () => window.isEmpty(),
    close: () => client.endAsync(),
  }
}
