/**
 * The registry behind /metrics: turns one snapshot per scrape into Prometheus' text format. Stages
 * count plain numbers; nothing here is called between scrapes.
 *
 * Not here: what there is to measure (table.ts), HTTP (admin/).
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type {
  HistogramDefinition,
  HistogramSample,
  PlainDefinition,
  Snapshot,
} from './definition.ts'
import { METRICS } from './table.ts'

/**
 * Of prom-client's: gauges that pose as counters, sums of the metrics of the same name without
 * `_total`.
 */
const MISNAMED = ['active_handles_total', 'active_requests_total', 'active_resources_total']

export class Metrics {
  readonly #registry = new Registry()
  readonly #updates: ((snapshot: Snapshot) => void)[] = []

  constructor() {
    collectDefaultMetrics({ register: this.#registry, prefix: 'sluice_' })
    for (const name of MISNAMED) this.#registry.removeSingleMetric(`sluice_nodejs_${name}`)
    for (const definition of METRICS) {
      this.#updates.push(
        definition.type === 'histogram'
          ? this.#histogram(definition)
          : definition.type === 'counter'
            ? this.#counter(definition)
            : this.#gauge(definition),
      )
    }
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /**
   * The text of one scrape. Two scrapes at once may mix values of their snapshots, never
   * labels.
   */
  async render(snapshot: Snapshot): Promise<string> {
    for (const update of this.#updates) update(snapshot)
    return this.#registry.metrics()
  }

  #gauge(definition: PlainDefinition): (snapshot: Snapshot) => void {
    const gauge = new Gauge(this.#options(definition))
    return (snapshot) => {
      const samples = definition.read(snapshot)
      gauge.reset()
      // A metric without labels restarts at 0; an unknown value must be absent instead.
      if (samples.length + definition.labels.length === 0) gauge.remove()
      for (const { labels, value } of samples) gauge.set(labels, value)
    }
  }

  /**
   * prom-client's counters only increase by a step; ours are absolute, so each scrape resets them.
   */
  #counter(definition: PlainDefinition): (snapshot: Snapshot) => void {
    const counter = new Counter(this.#options(definition))
    return (snapshot) => {
      const samples = definition.read(snapshot)
      counter.reset()
      if (samples.length + definition.labels.length === 0) counter.remove()
      for (const { labels, value } of samples) counter.inc(labels, value)
    }
  }

  #histogram(definition: HistogramDefinition): (snapshot: Snapshot) => void {
    const histogram = new PlainHistogram(this.#options(definition))
    return (snapshot) => {
      histogram.samples = definition.read(snapshot)
    }
  }

  #options(definition: PlainDefinition | HistogramDefinition) {
    return {
      name: definition.name,
      help: definition.help,
      labelNames: [...definition.labels],
      registers: [this.#registry],
    }
  }
}

type HistogramObject = Awaited<ReturnType<Histogram['get']>>

/** A histogram whose buckets were counted elsewhere, with bounds of its own per sample. */
class PlainHistogram extends Histogram {
  readonly #name: string
  readonly #help: string
  samples: readonly HistogramSample[] = []

  constructor(options: {
    name: string
    help: string
    labelNames: string[]
    registers: Registry[]
  }) {
    super(options)
    this.#name = options.name
    this.#help = options.help
  }

  override get(): Promise<HistogramObject> {
    const values = this.samples.flatMap((sample) => histogramValues(this.#name, sample))
    // prom-client's declaration asks for a `collect` that its own objects do not have either.
    const object = {
      name: this.#name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      values,
    }
    return Promise.resolve(object as unknown as HistogramObject)
  }

  /** What the registry calls for its text form. */
  getForPromString(): Promise<HistogramObject> {
    return this.get()
  }
}

interface HistogramValue {
  readonly metricName: string
  readonly labels: Record<string, string | number>
  readonly value: number
}

function histogramValues(name: string, { labels, histogram }: HistogramSample): HistogramValue[] {
  const values: HistogramValue[] = []
  let cumulative = 0
  histogram.bucketsSeconds.forEach((bound, i) => {
    cumulative += histogram.counts[i] ?? 0
    values.push({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: bound },
      value: cumulative,
    })
  })
  values.push(
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: histogram.count },
    { metricName: `${name}_sum`, labels: { ...labels }, value: histogram.sumSeconds },
    { metricName: `${name}_count`, labels: { ...labels }, value: histogram.count },
  )
  return values
}
