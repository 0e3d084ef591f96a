/**
 * CONNECT admission: so many per turn of the event loop, the others in order, none for connections
 * that are gone.
 */
import { afterEach, expect, test } from 'vitest'
import {
  CONNECTS_PER_TURN,
  ConnectAdmission,
} from '../../../gateway/broker/gate/connect-admission.ts'
import { LinkEnd } from '../../support/memory-link.ts'
import { packet, RawMqtt } from '../../support/raw-mqtt.ts'
import { DEFAULTS, eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

function handTurned(perTurn: number): { admission: ConnectAdmission; turn: () => boolean } {
  const steps: (() => void)[] = []
  const admission = new ConnectAdmission(perTurn, (step) => steps.push(step))
  const turn = (): boolean => {
    const step = steps.shift()
    step?.()
    return step !== undefined
  }
  return { admission, turn }
}

test('the first ones begin at once, the others in later turns and in order', () => {
  const { admission, turn } = handTurned(3)
  const begun: number[] = []
  for (let n = 0; n < 8; n += 1) admission.enter(() => begun.push(n) > 0)
  expect(begun).toEqual([0, 1, 2])
  expect(admission.waiting).toBe(5)
  turn()
  expect(begun).toEqual([0, 1, 2, 3, 4, 5])
  // Whoever comes now has to wait behind those who do.
  admission.enter(() => begun.push(8) > 0)
  expect(begun).toHaveLength(6)
  turn()
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  while (turn());
  admission.enter(() => begun.push(9) > 0)
  expect(begun).toHaveLength(10)
})

test('a connection that is gone takes no place', () => {
  const { admission, turn } = handTurned(2)
  const begun: number[] = []
  for (let n = 0; n < 2; n += 1) admission.enter(() => begun.push(n) > 0)
  for (let n = 2; n < 5_000; n += 1) admission.enter(() => false)
  admission.enter(() => begun.push(5_000) > 0)
  turn()
  expect(begun).toEqual([0, 1, 5_000])
  expect(admission.waiting).toBe(0)
})

test('an idle one schedules nothing', () => {
  const { admission, turn } = handTurned(2)
  admission.enter(() => false)
  expect(turn()).toBe(false)
  admission.enter(() => true)
  expect(turn()).toBe(true)
  expect(turn()).toBe(false)
})

test('I6: hundreds of CONNECTs in one turn are opened a few per turn, and a publisher is served in between', async () => {
  const rig = await startRig()
  const publisher = await RawMqtt.connect(rig.port, { clientId: 'publisher' })
  const before = rig.broker.stats.connectionsOpened
  const devices = Array.from({ length: 400 }, (_, n) => {
    const [end, far] = LinkEnd.pair()
    const inbound = {
      listener: DEFAULTS.listeners[0]!,
      remoteAddress: '127.0.0.1',
      certificateSubject: null,
    }
    rig.broker.accept({ stream: far, ...inbound })
    end.resume()
    end.write(packet.connect({ clientId: `storm-${n}`, clean: n % 2 === 0 }))
    return end
  })
  publisher.send(packet.publish('t/1', 'amid the storm', { qos: 1, id: 1 }))
  const perTurn: number[] = []
  let openedAtAck = -1
  const opened = (): number => rig.broker.stats.connectionsOpened - before
  for (let last = 0; opened() < devices.length; last = opened()) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    perTurn.push(opened() - last)
    if (openedAtAck < 0 && publisher.inbox.length > 0) openedAtAck = opened()
    expect(perTurn.length).toBeLessThan(100_000)
  }
  // What was begun in one turn may be opened together with what was begun in the next one.
  expect(Math.max(...perTurn)).toBeLessThanOrEqual(2 * CONNECTS_PER_TURN)
  expect(openedAtAck).toBeGreaterThanOrEqual(0)
  expect(openedAtAck).toBeLessThan(devices.length)
  for (const device of devices) device.destroy()
  await eventually(() => rig.broker.connections() === 1, 'all of the storm are gone')
})

test('a connection that is cut while it waits for its turn is counted as lost, once', async () => {
  const rig = await startRig()
  const ends = Array.from({ length: 50 }, () => {
    const [end, far] = LinkEnd.pair()
    const inbound = {
      listener: DEFAULTS.listeners[0]!,
      remoteAddress: '127.0.0.1',
      certificateSubject: null,
    }
    rig.broker.accept({ stream: far, ...inbound })
    end.write(packet.connect({ clientId: 'the same' }))
    end.destroy()
    return end
  })
  await eventually(() => rig.broker.connections() === 0, 'all are gone')
  const { connectionsClosed } = rig.broker.stats
  expect(connectionsClosed['connection-lost'] + connectionsClosed.takeover).toBe(ends.length)
})
