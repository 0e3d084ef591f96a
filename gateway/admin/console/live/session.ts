/** Logging in and out. Who is logged in is in the store. */
import { post } from './api.ts'
import { follow, stopFollowing } from './feed.ts'

type Credentials = { readonly user: string; readonly password: string } | { readonly token: string }

/** Where the page lies: `/`, or the prefix of a proxy, to which the cookie is bound. */
const HERE = new URL('.', location.href).pathname

/** @throws ApiError with the server's words */
export async function logIn(credentials: Credentials): Promise<void> {
  await post('api/login', { ...credentials, path: HERE })
  await follow()
}

/** What the page showed and kept is gone with the session. */
export async function logOut(): Promise<void> {
  stopFollowing()
  await post('api/logout', { path: HERE })
  location.reload()
}
