#!/usr/bin/env -S UV_THREADPOOL_SIZE=8 node
/**
 * The `sluice` command. Its first line gives libuv's pool eight threads (fsync, deflate, compaction and password hashing
 * share it): Node's ES module loader uses the pool before the first statement here runs, so it cannot be set later.
 */
import { processContext } from './cli/context.ts'
import { runCli } from './cli/program.ts'

// A reader that has seen enough (`sluice status | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

const code = await runCli(process.argv.slice(2), processContext())
process.exit(code)
