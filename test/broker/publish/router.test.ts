import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Router } from '../../../gateway/broker/publish/router.ts'
import type { StreamIntake } from '../../../gateway/ports/appender.ts'
import { TopicTrie } from '../../../gateway/shared/topics/topic-trie.ts'
import {
  checkTopicFilter,
  checkTopicName,
  filterMatches,
} from '../../../gateway/shared/topics/topics.ts'
import { matchesByDefinition, topicFilters, topicNames } from '../aedes/topics.ts'

const LIMITS = { maxTopicBytes: 16, maxTopicLevels: 3 }

function stream(
  name: string,
  topics: readonly string[],
  device: StreamIntake['device'] = 'clientId',
): StreamIntake {
  return {
    name,
    topics,
    device,
    wantsProperties: false,
    passage: null,
    envelope: () => ({ bytes: new Uint8Array() }),
  }
}

function routeNames(streams: readonly StreamIntake[], topic: string): string[] {
  return new Router(streams).route(topic).map(({ name }) => name)
}

describe('topic names', () => {
  test.each([
    ['a', null],
    ['/', null],
    ['a//b', null],
    ['', 'topic-empty'],
    ['a/+', 'topic-has-wildcard'],
    ['a#', 'topic-has-wildcard'],
    ['a\u0000', 'topic-has-null'],
    ['$SYS/x', null],
    ['a/b/c/+', 'topic-has-wildcard'],
    ['a/$SYS', null],
    ['1234567890123456', null],
    ['12345678901234567', 'topic-too-long'],
    ['ääääääää', null],
    ['äääääääää', 'topic-too-long'],
    ['a/b/c', null],
    ['a/b/c/d', 'topic-too-deep'],
  ])('%j: %s', (topic, fault) => {
    expect(checkTopicName(topic, LIMITS)).toBe(fault)
  })
})

describe('topic filters', () => {
  test.each([
    ['#', null],
    ['+', null],
    ['+/#', null],
    ['a/+/b', null],
    ['$SYS/#', null],
    ['', 'topic-empty'],
    ['a#', 'filter-wildcard-misplaced'],
    ['#/a', 'filter-wildcard-misplaced'],
    ['a+', 'filter-wildcard-misplaced'],
    ['+a/b', 'filter-wildcard-misplaced'],
    ['a/++', 'filter-wildcard-misplaced'],
    ['a\u0000', 'topic-has-null'],
    ['a/b/c', null],
    ['a/b/c/#', 'topic-too-deep'],
    ['1234567890123456', null],
    ['12345678901234567', 'topic-too-long'],
  ])('%j: %s', (filter, fault) => {
    expect(checkTopicFilter(filter, LIMITS)).toBe(fault)
  })
})

describe('matching', () => {
  // The examples of MQTT 3.1.1, section 4.7.
  test.each([
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/monitor', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/monitor', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['ACCOUNTS', 'Accounts', false],
  ])('%s and %s: %s', (filter, topic, matches) => {
    expect(filterMatches(filter, topic)).toBe(matches)
  })

  test('agrees with the definition on every filter and name, alone and in the trie', () => {
    fc.assert(
      fc.property(fc.uniqueArray(topicFilters, { maxLength: 8 }), topicNames, (filters, topic) => {
        const expected = filters.filter((filter) => matchesByDefinition(filter, topic))
        expect(filters.filter((filter) => filterMatches(filter, topic))).toEqual(expected)
        const trie = new TopicTrie<string>()
        for (const filter of filters) trie.add(filter, filter)
        const found: string[] = []
        trie.collect(topic, found)
        expect(found.sort()).toEqual(expected.sort())
        expect(trie.matches(topic)).toBe(expected.length > 0)
      }),
      { numRuns: 5_000 },
    )
  })

  test('the trie holds what was added and not removed', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), topicFilters, fc.integer({ min: 0, max: 2 })), {
      maxLength: 40,
    })
    fc.assert(
      fc.property(steps, topicNames, (ops, topic) => {
        const trie = new TopicTrie<number>()
        const model = new Map<string, readonly [string, number]>()
        for (const [adds, filter, value] of ops) {
          const key = `${filter} ${value}`
          const changed = adds ? trie.add(filter, value) : trie.remove(filter, value)
          expect(changed).toBe(adds !== model.has(key))
          if (adds) model.set(key, [filter, value])
          else model.delete(key)
        }
        expect(trie.size).toBe(model.size)
        const found: number[] = []
        trie.collect(topic, found)
        const expected = [...model.values()].filter(([filter]) =>
          matchesByDefinition(filter, topic),
        )
        const byValue = (a: number, b: number): number => a - b
        expect(found.sort(byValue)).toEqual(expected.map(([, value]) => value).sort(byValue))
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('routes', () => {
  test('all matching streams, each once, in configuration order', () => {
    const streams = [
      stream('late', ['plant/#', 'plant/+/temp']),
      stream('alarms', ['+/+/alarm']),
      stream('all', ['#']),
    ]
    expect(routeNames(streams, 'plant/press-7/temp')).toEqual(['late', 'all'])
    expect(routeNames(streams, 'plant/press-7/alarm')).toEqual(['late', 'alarms', 'all'])
    expect(routeNames(streams, 'office')).toEqual(['all'])
  })

  test('# takes no $ topics, and nothing takes a topic outside every stream', () => {
    expect(routeNames([stream('all', ['#'])], '$SYS/uptime')).toEqual([])
    expect(routeNames([stream('plant', ['plant/#'])], 'office/door')).toEqual([])
    expect(routeNames([], 'a')).toEqual([])
  })

  test('the same set of streams is the same array: a route costs no allocation', () => {
    const router = new Router([stream('a', ['a/#']), stream('b', ['b/#', 'a/x'])])
    expect(router.route('a/1')).toBe(router.route('a/2'))
    expect(router.route('a/x')).not.toBe(router.route('a/1'))
  })

  test('the device is the client id or a topic level, and the client id where that level is missing or empty', () => {
    const byClient = stream('a', ['#'])
    const byLevel = stream('b', ['#'], 'topic:1')
    const router = new Router([byClient, byLevel])
    expect(router.deviceOf(byClient, 'gw', 'plant/press-7/temp')).toBe('gw')
    expect(router.deviceOf(byLevel, 'gw', 'plant/press-7/temp')).toBe('press-7')
    expect(router.deviceOf(byLevel, 'gw', 'plant/press-7')).toBe('press-7')
    expect(router.deviceOf(byLevel, 'gw', 'plant')).toBe('gw')
    expect(router.deviceOf(byLevel, 'gw', 'plant//temp')).toBe('gw')
  })
})
