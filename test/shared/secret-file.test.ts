import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readSecret, secretText } from '../../gateway/shared/secret-file.ts'
import { temporaryFolder } from '../broker/listeners/listener-fixture.ts'

test.each([
  ['token\n', 'token'],
  ['token\r\n', 'token'],
  ['two\n\n', 'two\n'],
  [' spaces \n', ' spaces '],
  ['\n', ''],
])('of the file content %j the secret is %j', (content, secret) => {
  expect(secretText(Buffer.from(content))).toBe(secret)
})

test('a literal is what it says, a file is read at each call', async () => {
  const file = join(await temporaryFolder(), 'token')
  expect(await readSecret({ value: 'a\n' })).toBe('a\n')
  await expect(readSecret({ file })).rejects.toThrow('ENOENT')
  await writeFile(file, 'one\n')
  expect(await readSecret({ file })).toBe('one')
  await writeFile(file, 'two\n')
  expect(await readSecret({ file })).toBe('two')
})
