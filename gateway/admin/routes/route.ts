/** What a route is, and what routes do alike. */

import type { Operator } from '../../ports/operator.ts'
import { AdminError } from '../errors.ts'

export interface AdminRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** Parsed; null without a body. */
  readonly body: unknown
}

export interface AdminAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string | AsyncIterable<Uint8Array>
  /** Content-Security-Policy. @default nothing at all */
  readonly policy?: string
}

export interface Route {
  readonly method: 'GET' | 'POST'
  readonly path: RegExp
  /** `match`: the groups of the path. Throws for what it cannot answer. */
  readonly handle: (request: AdminRequest, match: readonly string[]) => Promise<AdminAnswer>
}

export function json(status: number, value: unknown): AdminAnswer {
  return {
    status,
    contentType: 'application/json; charset=utf-8',
    body: `${JSON.stringify(value, null, 2)}\n`,
  }
}

/** @throws AdminError that names the streams there are */
export async function requireStream(name: string, operator: Operator): Promise<void> {
  const names = (await operator.status()).streams.map((stream) => stream.name)
  if (names.includes(name)) return
  throw new AdminError(
    'ADMIN_NOT_FOUND',
    `there is no such stream; streams are: ${names.join(', ')}`,
  )
}
