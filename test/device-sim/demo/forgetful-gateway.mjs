/**
 * What the demo is there to catch: a gateway that acknowledges from memory. Speaks MQTT, the ingest
 * contract and the admin paths well enough to be taken for a gateway; everything that it holds is
 * gone when it is killed. Called like the real one: `start --config FILE`, JSON for YAML.
 */
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { crc32 } from 'node:zlib'
import { generate, parser } from 'mqtt-packet'

const config = JSON.parse(readFileSync(process.argv[process.argv.indexOf('--config') + 1], 'utf8'))
const spool = Math.random().toString(36).slice(2)
const counters = {
  received: 0,
  requeued: 0,
  delivered: 0,
  deadLettered: 0,
  dropped: {},
  pending: 0,
}
const sessions = new Map()
const queue = []
let nextSeq = 1

function append(client, packet) {
  const text = packet.payload.toString()
  let payload
  try {
    JSON.parse(text)
    payload = Buffer.from(text).equals(packet.payload) ? `"payload":${text}` : null
  } catch {
    payload = null
  }
  payload ??= `"payloadBase64":"${packet.payload.toString('base64')}"`
  const seq = nextSeq++
  const head = `{"id":"demo:${spool}:telemetry:${seq}","seq":${seq},"device":"${client}"`
  queue.push({ seq, line: `${head},"topic":"${packet.topic}","qos":${packet.qos},${payload}}\n` })
  counters.received++
  counters.pending++
}

const broker = createServer((socket) => {
  const input = parser()
  let client = ''
  let open = new Set()
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => input.parse(chunk))
  input.on('error', () => socket.destroy())
  input.on('packet', (packet) => {
    const { messageId } = packet
    const reply = (answer) => socket.write(generate(answer))
    if (packet.cmd === 'connect') {
      client = packet.clientId
      const sessionPresent = !packet.clean && sessions.has(client)
      open = sessionPresent ? sessions.get(client) : new Set()
      sessions.set(client, open)
      reply({ cmd: 'connack', returnCode: 0, sessionPresent })
    } else if (packet.cmd === 'publish') {
      if (packet.qos < 2 || !open.has(messageId)) append(client, packet)
      if (packet.qos === 1) reply({ cmd: 'puback', messageId })
      if (packet.qos === 2) reply({ cmd: 'pubrec', messageId: open.add(messageId) && messageId })
    } else if (packet.cmd === 'pubrel') {
      open.delete(messageId)
      reply({ cmd: 'pubcomp', messageId })
    } else if (packet.cmd === 'pingreq') reply({ cmd: 'pingresp' })
    else if (packet.cmd === 'disconnect') socket.end()
  })
})

async function deliver() {
  const batch = queue.slice(0, 5000)
  if (batch.length > 0) {
    const body = batch.map(({ line }) => line).join('')
    const [first, last] = [batch[0].seq, batch.at(-1).seq]
    const key = `demo:${spool}:telemetry:${first}-${last}:${crc32(body).toString(16).padStart(8, '0')}`
    const headers = {
      'Sluice-Contract': '1',
      'Content-Type': 'application/x-ndjson',
      'Idempotency-Key': `"${key}"`,
      'Sluice-Gateway': 'demo',
      'Sluice-Spool': spool,
      'Sluice-Stream': 'telemetry',
      'Sluice-First-Seq': String(first),
      'Sluice-Last-Seq': String(last),
      'Sluice-Record-Count': String(batch.length),
    }
    try {
      const response = await fetch(config.sinks.cloud.url, { method: 'POST', headers, body })
      const answer = response.ok ? JSON.parse((await response.text()) || '{}') : { ackedThrough: 0 }
      const through = answer.ackedThrough ?? last
      const settled = batch.filter(({ seq }) => seq <= through).length
      queue.splice(0, settled)
      counters.delivered += settled
      counters.pending -= settled
    } catch {
      // The next round tries again.
    }
  }
  setTimeout(deliver, 200)
}

const admin = createHttpServer((request, response) => {
  if (request.url === '/readyz') response.end('ok')
  else response.end(JSON.stringify({ streams: [{ name: 'telemetry', counters }] }))
})
broker.listen(config.mqtt.listeners[0].port, '127.0.0.1')
admin.listen(config.admin.port, '127.0.0.1')
void deliver()
process.on('SIGTERM', () => process.exit(0))
