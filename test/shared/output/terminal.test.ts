import { expect, test } from 'vitest'
import { hasColor } from '../../../gateway/shared/output/terminal.ts'

test('colors are for a terminal, unless NO_COLOR is set to something or TERM is dumb (no-color.org)', () => {
  expect(hasColor(true, {})).toBe(true)
  expect(hasColor(true, { NO_COLOR: '', TERM: 'xterm' })).toBe(true)
  expect(hasColor(true, { NO_COLOR: '1' })).toBe(false)
  expect(hasColor(true, { TERM: 'dumb' })).toBe(false)
  expect(hasColor(false, {})).toBe(false)
})
