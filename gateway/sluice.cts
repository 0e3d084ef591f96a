#!/usr/bin/env node
/**
 * The `sluice` command. fsync, deflate, compaction and password hashing share libuv's pool, which
 * wants eight threads. Node reads their number when the pool first works, and the loader of ES
 * modules uses it before the first statement of such a module runs. A CommonJS module is loaded
 * without it, so this one is in time.
 */
process.env['UV_THREADPOOL_SIZE'] ||= '8'
void import('./main.ts')
