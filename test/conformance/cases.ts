/** Every entry. */
import { CONNECT_CASES, SESSION_CASES } from './cases/connect.ts'
import { COPY_CASES, PUBLISH_CASES, WILL_CASES } from './cases/publish.ts'
import { RETAINED_CASES, SUBSCRIBE_CASES, TOPIC_CASES } from './cases/subscribe.ts'
import { ANSWER_CASES } from './cases/v5-answers.ts'
import { FLOW_CASES, MESSAGE5_CASES, SUBSCRIBE5_CASES } from './cases/v5-messages.ts'
import { CONNECT5_CASES, PROPERTY_CASES, WILL5_CASES } from './cases/v5-packets.ts'
import { SHARED_CASES } from './cases/v5-shared.ts'
import type { Case } from './script.ts'

export const CASES: readonly Case[] = [
  ...CONNECT_CASES,
  ...SESSION_CASES,
  ...PUBLISH_CASES,
  ...COPY_CASES,
  ...WILL_CASES,
  ...SUBSCRIBE_CASES,
  ...TOPIC_CASES,
  ...RETAINED_CASES,
  ...PROPERTY_CASES,
  ...CONNECT5_CASES,
  ...WILL5_CASES,
  ...MESSAGE5_CASES,
  ...FLOW_CASES,
  ...SUBSCRIBE5_CASES,
  ...SHARED_CASES,
  ...ANSWER_CASES,
]
