/** All types of sink that are measured, in the order of their table. */
import type { Contest } from './contest.ts'
import { fileContest } from './receivers/file.ts'
import { kafkaContest } from './receivers/kafka.ts'
import { mqttContests } from './receivers/mqtt.ts'
import { natsContests } from './receivers/nats.ts'
import { davContest, objectContest } from './receivers/object.ts'
import { postgresContest } from './receivers/postgres.ts'
import { storeContests } from './receivers/stores.ts'
import { webContests } from './receivers/web.ts'

export const CONTESTS: readonly Contest[] = [
  ...webContests,
  ...storeContests,
  fileContest,
  objectContest,
  davContest,
  ...mqttContests,
  ...natsContests,
  postgresContest,
  kafkaContest,
]
