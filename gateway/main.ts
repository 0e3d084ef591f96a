#!/usr/bin/env -S UV_THREADPOOL_SIZE=8 node
/**
 * The `sluice` command. Its first line gives libuv's pool eight threads (fsync, deflate, compaction and password hashing
 * share it): Node's ES module loader uses the pool before the first statement here runs, so it cannot be set later.
 */
import { processContext } from './cli/context.ts'
import { runCli } from './cli/program.ts'
import { leaveGoneTerminals } from './shared/terminal.ts'

process.on('exit', leaveGoneTerminals)

const code = await runCli(process.argv.slice(2), processContext())
process.exit(code)
