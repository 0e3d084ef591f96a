/** Who are you? By name and password of the users file, or by the token. */
import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { logIn } from '../live/session.ts'
import { hasEnded } from '../live/store.ts'
import { Said, useDoing } from '../parts/action.tsx'
import { Field } from '../parts/field.tsx'

/** `ways`: `password`, `token`, or both. */
export function Login({ ways }: { readonly ways: readonly string[] }) {
  const byToken = useSignal(!ways.includes('password'))
  return (
    <main class="login" aria-labelledby="title">
      <h1 id="title">Sluice gateway</h1>
      {hasEnded.value ? <p role="status">Your session has ended: log in again.</p> : null}
      {byToken.value ? <TokenForm /> : <PasswordForm />}
      {ways.length > 1 ? (
        <p>
          <button
            type="button"
            class="link"
            onClick={() => {
              byToken.value = !byToken.value
            }}
          >
            {byToken.value ? 'Log in with name and password' : 'Log in with the token'}
          </button>
        </p>
      ) : null}
    </main>
  )
}

function PasswordForm() {
  const user = useSignal('')
  const password = useSignal('')
  return (
    <LoginForm credentials={() => ({ user: user.value, password: password.value })}>
      <Field label="Name" value={user} autocomplete="username" isRequired />
      <Field
        label="Password"
        type="password"
        value={password}
        autocomplete="current-password"
        isRequired
      />
    </LoginForm>
  )
}

function TokenForm() {
  const token = useSignal('')
  return (
    <LoginForm credentials={() => ({ token: token.value })}>
      <Field
        label="Token"
        type="password"
        value={token}
        hint="admin.token of the gateway's configuration."
        isRequired
      />
    </LoginForm>
  )
}

interface LoginFormProps {
  readonly credentials: () => Parameters<typeof logIn>[0]
  readonly children: ComponentChildren
}

function LoginForm({ credentials, children }: LoginFormProps) {
  const doing = useDoing()
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        doing.run(async () => {
          await logIn(credentials())
          return null
        })
      }}
    >
      {children}
      <button type="submit" class="main" disabled={doing.isBusy}>
        Log in
      </button>
      <Said doing={doing} />
    </form>
  )
}
