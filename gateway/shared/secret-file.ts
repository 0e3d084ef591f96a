/**
 * Secrets as the configuration has them: a literal, or a file that is read again when it changes.
 * Not here: who notices the change (file-watch.ts).
 */
import { readFile } from 'node:fs/promises'

export type Secret = { readonly value: string } | { readonly file: string }

/** The secret as it is now. @throws if its file cannot be read */
export async function readSecret(secret: Secret): Promise<string> {
  return 'value' in secret ? secret.value : secretText(await readFile(secret.file))
}

/** The secret in a file's content: editors and `echo` end it with a newline that is none of it. */
export function secretText(content: Uint8Array): string {
  return new TextDecoder().decode(content).replace(/\r?\n$/, '')
}
