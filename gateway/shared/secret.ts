/**
 * A secret as configured: a literal, or a file that is read again when it changes (trailing newline
 * cut).
 */
export type Secret = { readonly value: string } | { readonly file: string }
