/** What an operator does about the configuration: looks at it, applies its file, sets the log's level. */
import { z } from 'zod'
import { parseDuration } from '../../config/units.ts'
import { LOG_LEVELS, PROBATION_MS, type RunningOperator } from '../../ports/operator.ts'
import { json, type Route, route } from './route.ts'

/** A day: whoever wants to think about it for longer looks at the status. */
const MAX_PROBATION_MS = 86_400_000

const probation = z.string().transform((input, context): number => {
  const parsed = parseDuration(input, { min: 0, max: MAX_PROBATION_MS })
  if ('value' in parsed && parsed.value <= MAX_PROBATION_MS) return parsed.value
  context.addIssue({ code: 'custom', message: 'a duration from 0s to 24h' })
  return z.NEVER
})

const reloadBody = z
  .strictObject({ dryRun: z.boolean().optional(), probation: probation.optional() })
  .nullable()

export function configurationRoutes(operator: RunningOperator): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/config',
      access: 'viewer',
      summary: 'The configuration in force, and what its file would change now.',
      answers: { status: 200, is: 'ConfigReport' },
      handle: async () => json(200, await operator.config()),
    }),
    route({
      method: 'POST',
      path: '/api/reload',
      access: 'operator',
      summary: 'Applies the configuration file, all of it or nothing.',
      answers: { status: 200, is: 'ReloadOutcome' },
      body: reloadBody,
      wanted: '{"dryRun":false,"probation":"30s"}, both of which may be left out',
      handle: async ({ body }) =>
        json(
          200,
          await operator.reload({
            dryRun: body?.dryRun ?? false,
            probationMs: body?.probation ?? PROBATION_MS,
          }),
        ),
    }),
    route({
      method: 'POST',
      path: '/api/log-level',
      access: 'operator',
      summary: "Sets the log's level until a reload changes it, or a restart.",
      answers: { status: 200, is: 'LogLevel' },
      body: z.strictObject({ level: z.enum(LOG_LEVELS) }),
      wanted: `{"level":"${LOG_LEVELS.join('|')}"}`,
      handle: async ({ body: { level } }) => {
        await operator.setLogLevel(level)
        return json(200, { level })
      },
    }),
  ]
}
