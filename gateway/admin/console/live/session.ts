/** Logging in and out. Who is logged in is in the store. */
import { post } from './api.ts'
import { follow, stopFollowing } from './feed.ts'

type Credentials = { readonly user: string; readonly password: string } | { readonly token: string }

/** @throws ApiError with the server's words */
export async function logIn(credentials: Credentials): Promise<void> {
  await post('/api/login', credentials)
  await follow()
}

/** What the page showed and kept is gone with the session. */
export async function logOut(): Promise<void> {
  stopFollowing()
  await post('/api/logout')
  location.reload()
}
