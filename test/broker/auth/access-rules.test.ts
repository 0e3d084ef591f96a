import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAccessRules } from '../../../gateway/broker/auth/access-rules.ts'
import { covers, overlaps } from '../../../gateway/broker/auth/filter-relations.ts'
import { allNames, matchesByDefinition, topicFilters, topicNames } from '../aedes/topics.ts'

const NAMES = allNames(5)

function access(rules: string, user = 'press-7', clientId = 'c1') {
  return parseAccessRules(rules, 'acl').for(user, clientId)
}

function fault(rules: string): string {
  try {
    parseAccessRules(rules, '/etc/sluice/acl')
    return 'none'
  } catch (error) {
    return String(error)
  }
}

describe('how filters relate', () => {
  test('covers and overlaps are exact: they agree with every topic name of up to five levels', () => {
    fc.assert(
      fc.property(topicFilters, topicFilters, (one, other) => {
        const ones = NAMES.filter((name) => matchesByDefinition(one, name))
        const others = NAMES.filter((name) => matchesByDefinition(other, name))
        const within = new Set(ones)
        expect(covers(one, other), `${one} covers ${other}`).toBe(
          others.every((name) => within.has(name)),
        )
        expect(overlaps(one, other), `${one} overlaps ${other}`).toBe(
          others.some((name) => within.has(name)),
        )
        expect(overlaps(other, one)).toBe(overlaps(one, other))
      }),
      { numRuns: 300 },
    )
  })

  test.each([
    ['#', 'a/#', true],
    ['#', '$SYS/#', false],
    ['+/#', '#', true],
    ['a/+/#', 'a/#', false],
    ['a/#', 'a', true],
    ['a/+', 'a/#', false],
    ['a/+', 'a/+', true],
    ['a/b', 'a/+', false],
    ['+/b', '$x/b', false],
  ])('%s covers %s: %s', (rule, filter, expected) => {
    expect(covers(rule, filter)).toBe(expected)
  })
})

describe('the access file', () => {
  const RULES = `
# presses
user press-7
topic write plant/press-7/#
topic read plant/+/setpoint
topic both ways
`.replace('topic both ways', 'topic deny plant/press-7/secret/#')

  test('write is publishing, read is subscribing, deny is neither', () => {
    const rules = access(RULES)
    expect(rules.mayPublish('plant/press-7/temp')).toBe(true)
    expect(rules.mayPublish('plant/press-8/temp')).toBe(false)
    expect(rules.mayPublish('plant/press-7/secret/key')).toBe(false)
    expect(rules.mayPublish('plant/press-7/setpoint')).toBe(true)
    expect(rules.mayPublish('plant/press-8/setpoint')).toBe(false)
    expect(rules.maySubscribe('plant/+/setpoint')).toBe(true)
    expect(rules.maySubscribe('plant/press-8/setpoint')).toBe(true)
    expect(rules.maySubscribe('plant/press-7/temp')).toBe(false)
    // A part of it may be received.
    expect([rules.maySubscribe('plant/#'), rules.mayReceiveAll('plant/#')]).toEqual([true, false])
    expect([rules.mayReceive('plant/a/setpoint'), rules.mayReceive('plant/a/temp')]).toEqual([
      true,
      false,
    ])
  })

  test('who has no rule may nothing', () => {
    for (const rules of [access(RULES, 'stranger'), access(''), access('user press-7')]) {
      expect(rules.mayPublish('plant/press-7/temp')).toBe(false)
      expect(rules.maySubscribe('plant/press-7/temp')).toBe(false)
    }
  })

  test('a rule without an access word is for both directions; sections of one user add up', () => {
    const rules = access('user press-7\ntopic a/#\nuser other\ntopic b\nuser press-7\ntopic c')
    expect(rules.mayPublish('a/1')).toBe(true)
    expect(rules.maySubscribe('a/#')).toBe(true)
    expect(rules.mayPublish('c')).toBe(true)
    expect(rules.mayPublish('b')).toBe(false)
  })

  test('a subscription that a deny only touches is granted, and what it touches is left out', () => {
    const rules = access('user press-7\ntopic read plant/#\ntopic deny plant/+/secret')
    for (const filter of ['#', '+/+', 'plant/#', 'plant/a/+']) {
      expect([filter, rules.maySubscribe(filter), rules.mayReceiveAll(filter)]).toEqual([
        filter,
        true,
        false,
      ])
    }
    expect(rules.mayReceive('plant/a/secret')).toBe(false)
    expect(rules.mayReceive('plant/a/temp')).toBe(true)
    expect(rules.mayReceiveAll('plant/a/temp')).toBe(true)
    // Nothing of these would ever come.
    expect(rules.maySubscribe('plant/+/secret')).toBe(false)
    expect(rules.maySubscribe('other/#')).toBe(false)
    expect(access('user press-7\ntopic read a/b\ntopic deny a/#').maySubscribe('#')).toBe(false)
  })

  test('topic lines before the first user are for clients without a name, and for nobody else', () => {
    const rules = parseAccessRules('topic read public/#\nuser press-7\ntopic read a', 'acl')
    expect(rules.for(null, 'c1').mayReceive('public/x')).toBe(true)
    expect(rules.for('press-7', 'c1').mayReceive('public/x')).toBe(false)
    expect(rules.count).toBe(2)
  })

  test('patterns hold for every user, wherever they stand, with %u and %c', () => {
    const text =
      'pattern write devices/%u/%c/#\nuser press-7\npattern read dev-%c\ntopic read mine/%u'
    const rules = access(text)
    expect(rules.mayPublish('devices/press-7/c1/temp')).toBe(true)
    expect(rules.mayPublish('devices/press-7/c2/temp')).toBe(false)
    expect(rules.maySubscribe('dev-c1')).toBe(true)
    expect(rules.maySubscribe('mine/press-7')).toBe(true)
    expect(access(text, 'other').maySubscribe('dev-c1')).toBe(true)
    expect(access(text, 'other').maySubscribe('mine/other')).toBe(false)
  })

  test('names may hold spaces, lines may end like those of other systems', () => {
    const rules = access('\uFEFFuser press 7\r\ntopic write hall 3/press\r\n', 'press 7')
    expect(rules.mayPublish('hall 3/press')).toBe(true)
  })

  test('filters are matched as MQTT says: # takes no $ topics', () => {
    const rules = access('user press-7\ntopic #')
    expect(rules.maySubscribe('#')).toBe(true)
    expect(rules.maySubscribe('$SYS/#')).toBe(false)
    expect(access('user press-7\ntopic read $SYS/#').maySubscribe('$SYS/broker/+')).toBe(true)
  })
})

describe('placeholders never widen a rule', () => {
  test.each([['+'], ['#'], ['a/b'], ['/'], ['']])(
    'the client id %j makes an allowing rule void',
    (clientId) => {
      const rules = access('pattern readwrite devices/%c/#\npattern read x/y%c', 'u', clientId)
      for (const topic of ['devices/a/b', 'devices/other/x', 'devices//x', 'devices', 'x/y']) {
        expect(rules.mayPublish(topic)).toBe(false)
        expect(rules.maySubscribe(topic)).toBe(false)
      }
      expect(rules.maySubscribe(`devices/${clientId}/#`)).toBe(false)
    },
  )

  test('a client id that begins with $ does not open the topics of the server', () => {
    expect(access('pattern readwrite %c/#', 'u', '$SYS').maySubscribe('$SYS/#')).toBe(false)
    expect(access('pattern readwrite d/%c/#', 'u', '$SYS').maySubscribe('d/$SYS/#')).toBe(true)
  })

  test('a deny whose placeholder cannot be filled in denies everything from there on', () => {
    const text = 'user u\ntopic readwrite #\npattern deny secret/%c/#'
    const rules = access(text, 'u', 'a/b')
    expect(rules.mayPublish('secret/a/b/x')).toBe(false)
    expect(rules.mayPublish('secret/else')).toBe(false)
    expect(rules.mayPublish('open')).toBe(true)
    const all = access('user u\ntopic readwrite #\npattern deny %c/#', 'u', '#')
    expect(all.mayPublish('open')).toBe(false)
  })

  test('a value is not read as a placeholder again', () => {
    expect(access('pattern write %u/%c', '%c', 'c1').mayPublish('c1/c1')).toBe(false)
    expect(access('pattern write %u/%c', '%c', 'c1').mayPublish('%c/c1')).toBe(true)
  })

  const names = fc.oneof(
    fc.string({
      minLength: 0,
      maxLength: 4,
      unit: fc.constantFrom('a', 'b', '+', '#', '/', '$', '%', 'u', 'c'),
    }),
    fc.constantFrom('a', '+', '#', '$x', 'a/b'),
  )

  test('whatever the names are, what is allowed names exactly this user and this client', () => {
    fc.assert(
      fc.property(names, names, topicNames, topicFilters, (user, clientId, topic, filter) => {
        const rules = parseAccessRules('pattern readwrite d/%u/%c/#', 'acl').for(user, clientId)
        const prefix = `d/${user}/${clientId}`
        const within = (text: string): boolean => text === prefix || text.startsWith(`${prefix}/`)
        for (const tried of [topic, `d/${topic}`, prefix, `${prefix}/x`]) {
          if (rules.mayPublish(tried)) expect(within(tried)).toBe(true)
        }
        for (const tried of [filter, `d/${filter}`, prefix, `${prefix}/#`]) {
          if (!rules.mayReceiveAll(tried)) continue
          expect(within(tried)).toBe(true)
          expect(/[+#]/.test(user + clientId)).toBe(false)
        }
        for (const tried of [topic, `d/${topic}`])
          if (rules.mayReceive(tried)) expect(within(tried)).toBe(true)
      }),
      { numRuns: 3_000 },
    )
  })

  test('what is granted as a whole, or received topic by topic, is within the rules; what is refused has nothing of it', () => {
    const kinds = fc.constantFrom('read', 'write', 'readwrite', 'deny')
    const rules = fc.array(fc.tuple(kinds, topicFilters), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(rules, topicFilters, (lines, filter) => {
        const text = lines.map(([kind, rule]) => `pattern ${kind} ${rule}`).join('\n')
        const given = access(text)
        for (const name of NAMES) {
          if (!matchesByDefinition(filter, name)) continue
          const taken = lines
            .filter(([, rule]) => matchesByDefinition(rule, name))
            .map(([kind]) => kind)
          const may =
            !taken.includes('deny') && taken.some((kind) => kind === 'read' || kind === 'readwrite')
          expect(given.mayReceive(name)).toBe(may)
          if (given.mayReceiveAll(filter)) expect(may).toBe(true)
          if (may) expect(given.maySubscribe(filter)).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('errors name the file and the line', () => {
  test.each([
    ['\n\nuser', '/etc/sluice/acl:3: expected "user NAME"'],
    [
      'user a\ntopic red a',
      '/etc/sluice/acl:2: expected read, write, readwrite or deny, got "red"',
    ],
    ['user a\ntopic write', '/etc/sluice/acl:2: expected a filter after "write"'],
    ['user a\ntopic', '/etc/sluice/acl:2: the filter "" is not valid (topic-empty)'],
    [
      'user a\ntopic a#',
      '/etc/sluice/acl:2: the filter "a#" is not valid (filter-wildcard-misplaced)',
    ],
    [
      'pattern write +%c',
      '/etc/sluice/acl:1: the filter "+%c" is not valid (filter-wildcard-misplaced)',
    ],
    ['# ok\nusr a', '/etc/sluice/acl:2: expected user, topic or pattern, got "usr"'],
  ])('%j: %s', (text, message) => {
    expect(fault(text)).toContain(message)
  })
})
