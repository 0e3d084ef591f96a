/**
 * Gives the members of one reading as JSON without the outer braces; `atMs` is its simulated time.
 */
export type Values = (atMs: number) => string
