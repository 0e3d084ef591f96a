/**
 * The named tables of answers, a line each. `answers` in the configuration of a sink names one; what
 * it lists beside the name wins.
 */
import type { AnswerTable } from './answer-table.ts'
import { contract } from './contract.ts'

/** The status alone decides. A page is still no ack: see read-answer.ts. */
const status: AnswerTable = { statuses: {}, reads: () => false, read: () => null }

export const ANSWER_TABLES = { contract, status } as const satisfies Record<string, AnswerTable>

export type AnswerTableName = keyof typeof ANSWER_TABLES
