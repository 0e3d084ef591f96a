/** As much of PromQL as is needed to say which metrics and labels an expression uses. */

export interface Selector {
  readonly metric: string
  readonly labels: readonly string[]
}

export interface Usage {
  readonly selectors: readonly Selector[]
  /** Labels in `by (…)`, `on (…)`, `ignoring (…)`, `without (…)`. */
  readonly grouping: readonly string[]
}

/** Selectors of our metrics and `up`, with the labels of their matchers. */
export function usage(expression: string): Usage {
  const selectors: Selector[] = []
  for (const match of expression.matchAll(/\b(sluice_[a-z0-9_]+|up)\b(\{[^}]*\})?/g)) {
    const matchers = match[2] ?? ''
    selectors.push({
      metric: match[1] ?? '',
      labels: [...matchers.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)/g)].map((each) => each[1] ?? ''),
    })
  }
  const grouping = [...expression.matchAll(/\b(?:by|on|ignoring|without)\s*\(([^)]*)\)/g)]
    .flatMap((each) => (each[1] ?? '').split(','))
    .map((label) => label.trim())
    .filter((label) => label !== '')
  return { selectors, grouping }
}

/** Grafana's variables replaced by values that Prometheus understands. */
export function withoutVariables(expression: string): string {
  return expression.replaceAll('$__rate_interval', '1m').replaceAll(/\$[a-z]+/g, '.*')
}
