/**
 * Which hosts only this machine can reach: decides over passwords in clear text, anonymous clients,
 * and open admin paths.
 */
import { describe, expect, test } from 'vitest'
import { hostAndPort, isLoopback, listenerUrl } from '../../gateway/shared/hosts.ts'

describe('loopback', () => {
  test.each([
    '127.0.0.1',
    '127.255.255.254',
    '::1',
    '[::1]',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    'localhost',
    'LocalHost',
    'press-7.localhost',
  ])('is %s', (host) => {
    expect(isLoopback(host)).toBe(true)
  })

  test.each([
    '',
    '0.0.0.0',
    '::',
    '128.0.0.1',
    '10.0.0.1',
    '::ffff:10.0.0.1',
    '127.0.0.1.example.com',
    '127.1',
    '127.0.0.256',
    '127.0.0.1:1883',
    'localhost.example.com',
    'notlocalhost',
    '[127.0.0.1',
  ])('is not %j', (host) => {
    expect(isLoopback(host)).toBe(false)
  })
})

test('addresses are written as URLs want them', () => {
  expect(hostAndPort('127.0.0.1', 1)).toBe('127.0.0.1:1')
  expect(hostAndPort('fe80::1', 1)).toBe('[fe80::1]:1')
  const url = (tls: boolean, websocket: boolean): string =>
    listenerUrl({ host: '::1', port: 2, tls, websocket })
  expect([url(false, false), url(true, false), url(false, true), url(true, true)]).toEqual([
    'mqtt://[::1]:2',
    'mqtts://[::1]:2',
    'ws://[::1]:2',
    'wss://[::1]:2',
  ])
})
