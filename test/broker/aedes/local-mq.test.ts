import { Aedes } from 'aedes'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type LocalListener, LocalMq } from '../../../gateway/broker/aedes/local-mq.ts'
import type { BrokerEvent } from '../../../gateway/broker/events.ts'

const take: LocalListener = (_message, done) => done()

async function emitted(mq: LocalMq, topic: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    mq.emit({ topic }, (error) => (error === undefined ? resolve() : reject(error)))
  })
}

describe('who listens locally', () => {
  test('matches what was subscribed, until it is unsubscribed; the version rises with each change', () => {
    const mq = new LocalMq()
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
    const mq = new LocalMq()
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
    const mq = new LocalMq(stored)
    expect(mq.matches('plant/a')).toBe(true)
    expect(mq.matches('plant/b')).toBe(false)
    expect(mq.version).toBe(5)
    stored.version += 1
    expect(mq.version).toBe(6)
  })
})

describe('handing over', () => {
  test('every listener that matches gets the message, and done comes when the last has finished', async () => {
    const mq = new LocalMq()
    const got: string[] = []
    let finish: () => void = () => {}
    mq.on('a/#', (_message, done) => {
      got.push('slow')
      finish = done
    })
    mq.on('a/b', (_message, done) => {
      got.push('fast')
      done()
      done()
    })
    mq.on('c', () => got.push('never'))
    let done = false
    const all = emitted(mq, 'a/b').then(() => {
      done = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(got).toEqual(['slow', 'fast'])
    expect([done, mq.current]).toEqual([false, 1])
    finish()
    await all
    expect(mq.current).toBe(0)
  })

  test('I6: a thousand messages that a listener holds do not keep others from theirs', async () => {
    const mq = new LocalMq()
    mq.on('stuck', () => {})
    for (let i = 0; i < 1_000; i += 1) mq.emit({ topic: 'stuck' })
    mq.on('alive', take)
    await emitted(mq, 'alive')
    expect(mq.current).toBe(1_000)
  })

  test('a listener that throws does not keep the message from the next one, and is reported', async () => {
    const events: BrokerEvent[] = []
    const mq = new LocalMq(null, (event) => events.push(event))
    let got = 0
    mq.on('a', () => {
      throw new Error('broken listener')
    })
    mq.on('+', (_message, done) => {
      got += 1
      done()
    })
    await emitted(mq, 'a')
    await emitted(mq, 'a')
    expect(got).toBe(2)
    expect(events).toEqual([
      { type: 'broker.local-delivery-failed', message: 'Error: broken listener', suppressed: 0 },
    ])
  })

  test('after close nothing is taken', async () => {
    const mq = new LocalMq()
    await new Promise<void>((resolve) => void mq.close(resolve))
    await expect(emitted(mq, 'a')).rejects.toThrow('closed')
  })
})
