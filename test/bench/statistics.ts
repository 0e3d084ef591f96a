/** What rounds are boiled down to: the median, with the least and the most beside it. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** Bounds of the median with 95 % confidence, by ranks of a sign test; of few values all of them. */
export function medianInterval(values: readonly number[]): [number, number] {
  const sorted = values.toSorted((a, b) => a - b)
  const away = Math.max(0, Math.floor(sorted.length / 2 - 0.98 * Math.sqrt(sorted.length)))
  return [sorted[away] ?? Number.NaN, sorted[sorted.length - 1 - away] ?? Number.NaN]
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function spread(values: readonly number[], digits = 0): string {
  if (values.length < 2) return median(values).toFixed(digits)
  return `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}-${Math.max(...values).toFixed(digits)})`
}

/** Of two lists that were taken in turn: the quotient in each round. */
export function ratios(over: readonly number[], under: readonly number[]): number[] {
  return over.map((value, i) => value / (under[i] ?? Number.NaN))
}
