/**
 * Another boot, for `node --import`: CLOCK_BOOT says which, and ms since it at the start of this
 * process.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const [bootId, uptimeMs] = (process.env['CLOCK_BOOT'] ?? '').split(' ')
const { readFileSync } = fs
fs.readFileSync = (path, ...rest) =>
  path === '/proc/sys/kernel/random/boot_id' ? `${bootId}\n` : readFileSync(path, ...rest)
syncBuiltinESMExports()

const { bigint } = process.hrtime
const beganNs = bigint()
process.hrtime.bigint = () => bigint() - beganNs + BigInt(uptimeMs) * 1_000_000n
