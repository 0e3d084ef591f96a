import { Aedes } from 'aedes'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type LocalListener, LocalMq } from '../../../gateway/broker/aedes/local-mq.ts'
import type { BrokerEvent } from '../../../gateway/broker/events.ts'

const take: LocalListener = (_message, done) => done()

const NONE = { version: 0, takes: (_topic: string): boolean => false }

function newMq(stored = NONE, emit: (event: BrokerEvent) => void = () => undefined): LocalMq {
  return new LocalMq(stored, emit)
}

describe('who listens locally', () => {
  test('matches what was subscribed, until it is unsubscribed; the version rises with each change', () => {
    const mq = newMq()
    expect(mq.matches('plant/a')).toBe(false)
    const { version } = mq
    mq.on('plant/+', take)
    expect(mq.matches('plant/a')).toBe(true)
    expect(mq.matches('office/a')).toBe(false)
    expect(mq.version).toBeGreaterThan(version)
    const subscribed = mq.version
    mq.on('plant/+', take)
    expect(mq.version).toBe(subscribed)
    mq.removeListener('plant/+', take)
    expect(mq.matches('plant/a')).toBe(false)
    expect(mq.version).toBeGreaterThan(subscribed)
  })

  test('aedes itself, started on it, does not count as a subscriber', async () => {
    const mq = newMq()
    const aedes = await Aedes.createBroker({ mq })
    onTestFinished(() => new Promise<void>((resolve) => aedes.close(resolve)))
    expect(mq.version).toBeGreaterThan(0)
    expect(mq.matches(`$SYS/${aedes.id}/heartbeat`)).toBe(false)
    expect(mq.matches('anything')).toBe(false)
    const got = new Promise<string>((resolve) => {
      aedes.subscribe(
        'plant/#',
        (packet, done) => {
          resolve(packet.payload.toString())
          done()
        },
        () => {},
      )
    })
    expect(mq.matches('plant/a')).toBe(true)
    const packet = {
      cmd: 'publish',
      topic: 'plant/a',
      payload: '21.4',
      qos: 0,
      dup: false,
      retain: false,
    } as const
    aedes.publish(packet, () => {})
    expect(await got).toBe('21.4')
  })

  test('sessions that are away are asked, too', () => {
    const stored = { version: 5, takes: (topic: string) => topic === 'plant/a' }
    const mq = newMq(stored)
    expect(mq.matches('plant/a')).toBe(true)
    expect(mq.matches('plant/b')).toBe(false)
    expect(mq.version).toBe(5)
    stored.version += 1
    expect(mq.version).toBe(6)
  })
})

describe('handing over', () => {
  test('every listener that matches gets the message', () => {
    const mq = newMq()
    const got: string[] = []
    mq.on('a/#', () => got.push('a/#'))
    mq.on('a/b', () => got.push('a/b'))
    mq.on('c', () => got.push('never'))
    mq.emit({ topic: 'a/b' })
    expect(got).toEqual(['a/#', 'a/b'])
  })

  test('I6: a thousand messages that a listener holds do not keep others from theirs', () => {
    const mq = newMq()
    let got = 0
    mq.on('#', () => {})
    mq.on('alive', () => (got += 1))
    for (let i = 0; i < 1_000; i += 1) mq.emit({ topic: 'stuck' })
    mq.emit({ topic: 'alive' })
    expect(got).toBe(1)
  })

  test('a listener that throws does not keep the message from the next one, and is reported', async () => {
    const events: BrokerEvent[] = []
    const mq = newMq(NONE, (event) => events.push(event))
    let got = 0
    mq.on('a', () => {
      throw new Error('broken listener')
    })
    mq.on('+', (_message, done) => {
      got += 1
      done()
    })
    mq.emit({ topic: 'a' })
    mq.emit({ topic: 'a' })
    expect(got).toBe(2)
    expect(events).toEqual([
      { type: 'broker.local-delivery-failed', message: 'Error: broken listener', suppressed: 0 },
    ])
  })

  test('after close nothing is handed over', async () => {
    const mq = newMq()
    let got = 0
    mq.on('a', () => (got += 1))
    await new Promise<void>((resolve) => void mq.close(resolve))
    mq.emit({ topic: 'a' })
    expect(got).toBe(0)
  })
})
