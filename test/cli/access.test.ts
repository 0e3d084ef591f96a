/** `sluice access`: who could log in where, and which line of which file decides. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { tryLogin } from '../../gateway/broker/auth/login-trial.ts'
import { runCli } from '../../gateway/cli/program.ts'
import { setPassword } from '../../gateway/shared/passwords/password-file.ts'
import { mqttConfig } from '../support/configs.ts'
import { FakeContext } from './fake-context.ts'

const ACL = `# the plant
topic read public/#
user press-7
topic write plant/press-7/#
topic deny plant/press-7/secret/#
topic read plant/+/setpoint
pattern readwrite devices/%c/#
`

let folder: string
let context: FakeContext
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-access-'))
  context = new FakeContext(folder)
  writeFileSync(join(folder, 'acl'), ACL)
  const listeners = '[{ port: 1883, auth: null }, { host: 0.0.0.0, port: 8883 }]'
  const auth = '{ passwordFile: users, aclFile: acl }'
  writeFileSync(join(folder, 'sluice.yaml'), `mqtt: { listeners: ${listeners}, auth: ${auth} }\n`)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function access(password: string | null, ...args: readonly string[]): Promise<number> {
  if (password === null) return await runCli(['access', ...args], context)
  context.stdin.push(`${password}\n`)
  context.stdin.push(null)
  return await runCli(['access', '--password', ...args], context)
}

test('each listener, each topic, and the line that decides', async () => {
  await setPassword(join(folder, 'users'), 'press-7', 'right')
  const acl = join(folder, 'acl')
  const code = await access(
    'right',
    'press-7',
    '--client-id',
    'c1',
    '--publish',
    'plant/press-7/temp',
    'plant/press-7/secret/x',
    'plant/press-8/temp',
    'devices/c1/x',
    '--subscribe',
    'plant/#',
    'public/#',
  )
  expect(context.out).toBe(`mqtt://127.0.0.1:1883
  yes  log in: this listener asks for no name and no password
  yes  publish plant/press-7/temp: everybody may everything here
  yes  publish plant/press-7/secret/x: everybody may everything here
  yes  publish plant/press-8/temp: everybody may everything here
  yes  publish devices/c1/x: everybody may everything here
  yes  subscribe plant/#: everybody may everything here
  yes  subscribe public/#: everybody may everything here

mqtt://0.0.0.0:8883
  yes  log in: the password is the one in ${join(folder, 'users')}
  yes  publish plant/press-7/temp: ${acl}:4: write plant/press-7/#
  no   publish plant/press-7/secret/x: ${acl}:5: deny plant/press-7/secret/#
  no   publish plant/press-8/temp: of 4 rules for this user in ${acl} none allows it
  yes  publish devices/c1/x: ${acl}:7: readwrite devices/c1/#
  yes  subscribe plant/#: ${acl}:6: read plant/+/setpoint, but not all that it takes arrives
  no   subscribe public/#: of 4 rules for this user in ${acl} none allows it
`)
  expect(code).toBe(1)
})

test.each([
  ['a wrong password', 'wrong', ['press-7'], /no   log in: the password is not the one in .*users/],
  ['nobody', 'right', ['press-9'], /no   log in: there is no such user in .*users/],
  ['no name', null, [], /no   log in: a name and a password of .*users are wanted/],
  ['no password', null, ['press-7'], /yes  log in: .*the password was not tried/],
  ['no topic name', null, ['press-7', '--publish', 'a/#'], /no   publish a\/#: no topic name/],
])('%s', async (_, password, args, words) => {
  await setPassword(join(folder, 'users'), 'press-7', 'right')
  await access(password, ...args)
  expect(context.out).toMatch(words)
})

test('--json holds the same, and a file that is broken is named with its line', async () => {
  await setPassword(join(folder, 'users'), 'press-7', 'right')
  expect(await access(null, 'press-7', '--publish', 'plant/press-7/x', '--json')).toBe(0)
  expect(JSON.parse(context.out)).toMatchObject({
    user: 'press-7',
    clientId: 'press-7',
    listeners: [{}, { login: { allowed: true }, topics: [{ action: 'publish', allowed: true }] }],
  })
  writeFileSync(join(folder, 'acl'), 'user press-7\ntopic wirte a/#\n')
  expect(await access(null, 'press-7')).toBe(1)
  expect(context.err).toMatch(/acl:2: expected read, write, readwrite or deny, got "wirte"/)
})

test('what is said to decide agrees with what is allowed, whatever the rules are', async () => {
  const level = fc.constantFrom('a', 'b', '+', '%u', '%c')
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))
  const rule = fc
    .tuple(
      fc.constantFrom('topic', 'pattern'),
      fc.constantFrom('read', 'write', 'readwrite', 'deny'),
      filter,
    )
    .map((words) => words.join(' '))
  const topic = fc
    .array(fc.constantFrom('a', 'b', 'u', 'c'), { minLength: 1, maxLength: 3 })
    .map((levels) => levels.join('/'))
  await fc.assert(
    fc.asyncProperty(
      fc.array(rule, { maxLength: 6 }),
      topic,
      filter.filter((one) => !one.includes('%')),
      async (rules, published, subscribed) => {
        const aclFile = join(folder, 'random-acl')
        writeFileSync(aclFile, `user u\n${rules.join('\n')}\n`)
        const config = mqttConfig({ auth: { passwordFile: null, aclFile } })
        const who = { user: 'u', password: null, clientId: 'c' }
        const verdicts = await tryLogin(config, {
          ...who,
          publish: [published],
          subscribe: [subscribed],
        })
        for (const { allowed, why } of verdicts.flatMap(({ topics }) => topics)) {
          if (allowed) expect(why).toMatch(/:\d+: (?:read|write|readwrite) /)
          else expect(why).toMatch(/:\d+: deny |no rule for this user|none allows it/)
        }
      },
    ),
    { numRuns: 300 },
  )
})
