/** The whole configuration as one schema: a slice per stage, each with its defaults. */
import type { z } from 'zod'
import type { Config } from './config.ts'
import { section } from './fields.ts'
import { adminSlice } from './slices/admin.ts'
import { gatewaySlice } from './slices/gateway.ts'
import { logSlice } from './slices/log.ts'
import { mqttSlice } from './slices/mqtt.ts'
import { sinksSlice } from './slices/sinks.ts'
import { spoolSlice } from './slices/spool.ts'
import { streamsSlice } from './slices/streams.ts'

const slices = section('The configuration.', {
  gateway: gatewaySlice.prefault({}),
  mqtt: mqttSlice.prefault({}),
  streams: streamsSlice.prefault({ telemetry: {} }),
  sinks: sinksSlice.prefault({ cloud: {} }),
  spool: spoolSlice.prefault({}),
  admin: adminSlice.prefault({}),
  log: logSlice.prefault({}),
})

/** Its output is {@link Config}, with paths as they were written. */
export const configSchema: z.ZodType<Config> = slices
export const rootNode: z.ZodType = slices
