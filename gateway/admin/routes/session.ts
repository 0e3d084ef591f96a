/** Logging in and out, and who one is. */
import { z } from 'zod'
import type { SignIn } from '../sign-in/sign-in.ts'
import { json, type Route, route } from './route.ts'

/** As long as a password file takes them. */
const MAX_TEXT = 1_024

/** A path as a cookie may have it, without what would end it there. */
const path = z
  .string()
  .max(256)
  .regex(/^\/[\w.~%!$&'()*+@:/-]*$/)
  .prefault('/')

const text = z.string().min(1).max(MAX_TEXT)

export function sessionRoutes(signIn: SignIn): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/session',
      access: 'viewer',
      summary: 'Who asks. 401 says by which ways one can log in.',
      answers: { status: 200, is: 'Session' },
      handle: async ({ request }) => json(200, request.caller),
    }),
    route({
      method: 'POST',
      path: '/api/login',
      access: 'anyone',
      summary: 'Begins a session and sets its cookie.',
      body: z.union([
        z.strictObject({ user: text, password: text, path }),
        z.strictObject({ token: text, path }),
      ]),
      wanted:
        '{"user": "<name>", "password": "<password>"} or {"token": "<admin.token>"}, with "path": "/<prefix>/" behind a proxy',
      answers: { status: 200, is: 'Session' },
      handle: async ({ body, request }) => {
        const { caller, cookie } = await signIn.logIn(body, request, body.path)
        return { ...json(200, caller), headers: { 'Set-Cookie': cookie } }
      },
    }),
    route({
      method: 'POST',
      path: '/api/logout',
      access: 'anyone',
      summary: 'Ends the session and takes its cookie back.',
      body: z.strictObject({ path }).nullable(),
      wanted: '{}, with "path" as at the login',
      answers: { status: 200, is: 'LoggedOut' },
      handle: async ({ body, request }) => ({
        ...json(200, { loggedOut: true }),
        headers: { 'Set-Cookie': signIn.logOut(request.headers, body?.path ?? '/') },
      }),
    }),
  ]
}
