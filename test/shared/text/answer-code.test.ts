import { expect, it } from 'vitest'
import { codeOf, writtenCode } from '../../../gateway/shared/text/answer-code.ts'

it('whole numbers are written as numbers, and every code comes back as it was', () => {
  expect(writtenCode('503')).toBe(503)
  for (const code of ['503', '08006', '22P02', 'ENOSPC', '1e3', '', '-0', '12345678901234567890']) {
    expect(codeOf(writtenCode(code))).toBe(code)
    if (code !== '503') expect(writtenCode(code)).toBe(code)
  }
  expect(codeOf(writtenCode(null))).toBeNull()
})
