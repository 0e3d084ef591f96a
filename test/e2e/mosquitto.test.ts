import { afterEach, expect } from 'vitest'
import { type RunningProcess, reapProcesses, runToEnd, startProcess } from '../support/process.ts'
import { describeWithTool, testWithTool } from '../support/tool-tests.ts'
import { Rig } from './rig.ts'

const rigs: Rig[] = []
afterEach(async () => {
  await reapProcesses()
  for (const rig of rigs.splice(0)) await rig.close()
})

async function startRig(): Promise<Rig> {
  const rig = await Rig.start()
  rigs.push(rig)
  return rig
}

async function publish(rig: Rig, args: readonly string[], input?: string): Promise<void> {
  const { exit, stderr } = await runToEnd(
    'mosquitto_pub',
    ['-h', '127.0.0.1', '-p', rig.mqttPort, ...args],
    input === undefined ? {} : { input },
  )
  expect(exit.code, stderr).toBe(0)
}

/** Subscribes; resolves when the gateway has granted it. */
async function subscribe(rig: Rig, args: readonly string[]): Promise<RunningProcess> {
  const one = startSubscriber(rig, args)
  await one.waitForLine(/^Subscribed /)
  return one
}

/** Prints `got <qos> <retained> <topic> <payload>` per message. */
function startSubscriber(rig: Rig, args: readonly string[]): RunningProcess {
  const all = ['-h', '127.0.0.1', '-p', rig.mqttPort, '-d', '-F', 'got %q %r %t %p', ...args]
  // Its standard output is line-buffered only on request.
  return startProcess('stdbuf', ['-oL', 'mosquitto_sub', ...all])
}

function got(one: RunningProcess): string[] {
  return one.lines.filter(({ text }) => text.startsWith('got ')).map(({ text }) => text.slice(4))
}

describeWithTool(['mosquitto_pub', 'mosquitto_sub', 'stdbuf'], 'mosquitto clients', () => {
  testWithTool(
    'mosquitto_pub',
    'a message at QoS 0, 1 and 2 arrives in the cloud with its bytes',
    async () => {
      const rig = await startRig()
      for (const qos of ['0', '1', '2']) {
        await publish(rig, [
          '-i',
          `pub-${qos}`,
          '-t',
          `plant/press/${qos}`,
          '-m',
          `{"n":1.50,"q":${qos}}`,
          '-q',
          qos,
        ])
      }
      const records = await rig.records(3)
      for (const qos of [0, 1, 2]) {
        expect(records.find((record) => record.qos === qos)).toMatchObject({
          device: `pub-${qos}`,
          topic: `plant/press/${qos}`,
          payload: Buffer.from(`{"n":1.50,"q":${qos}}`),
        })
      }
    },
  )

  testWithTool(
    'mosquitto_pub',
    'I2, I3: 2,000 messages of one client at QoS 2 arrive once each, in order',
    async () => {
      const rig = await startRig()
      const lines = Array.from({ length: 2000 }, (_, n) => `{"n":${n}}`)
      await publish(
        rig,
        ['-i', 'lines', '-t', 'plant/lines', '-q', '2', '-l'],
        `${lines.join('\n')}\n`,
      )
      const records = await rig.records(2000)
      expect(records.map(({ payload }) => payload.toString())).toEqual(lines)
    },
  )

  testWithTool(
    'mosquitto_sub',
    'local consumers get live readings as they were published',
    async () => {
      const rig = await startRig()
      const one = await subscribe(rig, ['-t', 'plant/+/live', '-q', '2', '-C', '3'])
      for (const qos of ['0', '1', '2'])
        await publish(rig, ['-t', `plant/p${qos}/live`, '-m', 'x', '-q', qos])
      expect((await one.waitForExit()).code).toBe(0)
      expect(got(one)).toEqual([
        '0 0 plant/p0/live x',
        '1 0 plant/p1/live x',
        '2 0 plant/p2/live x',
      ])
    },
  )

  testWithTool(
    'mosquitto_sub',
    'a copy has the lower of both QoS, wildcards or not [MQTT-3.8.4-6]',
    async () => {
      const rig = await startRig()
      const exact = await subscribe(rig, ['-t', 'plant/a', '-q', '1', '-C', '2'])
      const wild = await subscribe(rig, ['-t', 'plant/#', '-q', '1', '-C', '2'])
      const least = await subscribe(rig, ['-t', 'plant/#', '-q', '0', '-C', '2'])
      for (const qos of ['1', '2']) await publish(rig, ['-t', 'plant/a', '-m', qos, '-q', qos])
      for (const one of [exact, wild, least]) expect((await one.waitForExit()).code).toBe(0)
      expect(got(least)).toEqual(['0 0 plant/a 1', '0 0 plant/a 2'])
      expect(got(exact)).toEqual(['1 0 plant/a 1', '1 0 plant/a 2'])
      expect(got(wild)).toEqual(['1 0 plant/a 1', '1 0 plant/a 2'])
    },
  )

  testWithTool(
    'mosquitto_sub',
    'a retained message is there for who comes later, also after SIGKILL',
    async () => {
      const rig = await startRig()
      await publish(rig, ['-t', 'plant/state', '-m', 'on', '-q', '1', '-r'])
      await publish(rig, ['-t', 'plant/gone', '-m', 'x', '-q', '1', '-r'])
      await publish(rig, ['-t', 'plant/gone', '-n', '-q', '1', '-r'])
      const before = await subscribe(rig, ['-t', 'plant/#', '-q', '1', '-W', '2'])
      await before.waitForExit()
      expect(got(before)).toEqual(['1 1 plant/state on'])
      await rig.killAndRestart()
      const after = await subscribe(rig, ['-t', 'plant/#', '-q', '1', '-W', '2'])
      await after.waitForExit()
      expect(got(after)).toEqual(['1 1 plant/state on'])
      const records = await rig.records(3)
      expect(records.map(({ payload, retain }) => [payload.toString(), retain])).toEqual([
        ['on', true],
        ['x', true],
        ['', true],
      ])
    },
  )

  testWithTool(
    'mosquitto_sub',
    'a will is delivered and stored when its client dies, and not when it says goodbye',
    async () => {
      const rig = await startRig()
      const watcher = await subscribe(rig, ['-t', 'wills/#', '-q', '1'])
      const will = (name: string): string[] =>
        `-i ${name} -t other --will-topic wills/${name} --will-payload ${name}-is-gone --will-qos 1`.split(
          ' ',
        )
      const polite = await subscribe(rig, will('polite'))
      polite.kill('SIGTERM')
      await polite.exited
      const dead = await subscribe(rig, will('dead'))
      await dead.reap()
      await watcher.waitForLine('got 1 0 wills/dead dead-is-gone')
      expect(got(watcher)).toEqual(['1 0 wills/dead dead-is-gone'])
      const records = await rig.records(1)
      expect(records.find(({ topic }) => topic === 'wills/dead')).toMatchObject({
        device: 'dead',
        will: true,
        payload: Buffer.from('dead-is-gone'),
      })
      expect(records.some(({ topic }) => topic === 'wills/polite')).toBe(false)
    },
  )

  testWithTool(
    'mosquitto_sub',
    'a persistent session keeps its subscription across SIGKILL and gets what it missed',
    async () => {
      const rig = await startRig()
      const session = ['-i', 'hmi', '-c', '-t', 'plant/alarm', '-q', '1']
      const first = await subscribe(rig, [...session, '-E'])
      expect((await first.waitForExit()).code).toBe(0)
      await rig.killAndRestart()
      await publish(rig, ['-t', 'plant/alarm', '-m', 'one', '-q', '1'])
      await publish(rig, ['-t', 'plant/alarm', '-m', 'two', '-q', '2'])
      // What it missed may come before its SUBSCRIBE is answered, and then it is done.
      const again = startSubscriber(rig, [...session, '-C', '2', '-W', '10'])
      await again.waitForExit(15_000)
      expect(got(again)).toEqual(['1 0 plant/alarm one', '1 0 plant/alarm two'])
    },
  )
})
