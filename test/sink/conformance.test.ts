/** The suite of the sink port over every type that there is. */
import type { SINK_TYPES } from '../../gateway/sink/registry.ts'
import { describeConformance, type SinkHarness } from './conformance.ts'
import { fileHarness } from './file/harness.ts'
import { httpHarness } from './http/harness.ts'
import { mqttHarness } from './mqtt/harness.ts'
import { natsBatchHarness, natsRecordHarness } from './nats/harness.ts'
import { objectHarness } from './object/harness.ts'

/** Its suite runs under a newer Node: kafka/kafka.test.ts. */
type Elsewhere = 'kafka'

import { postgresHarness } from './postgres/harness.ts'

/** `npm run types` refuses a type without one. */
const HARNESSES: Readonly<Record<Exclude<keyof typeof SINK_TYPES, Elsewhere>, SinkHarness>> = {
  http: httpHarness,
  file: fileHarness,
  object: objectHarness,
  mqtt: mqttHarness,
  nats: natsBatchHarness,
  postgres: postgresHarness,
}

for (const [type, harness] of Object.entries(HARNESSES)) describeConformance(type, harness)
describeConformance('nats, a message a record', natsRecordHarness)
