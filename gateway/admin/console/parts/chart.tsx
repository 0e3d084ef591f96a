/**
 * Lines over the last minutes, by uPlot. What they show is said in words beside them: the canvas is
 * for eyes only.
 */
import { useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { type Sample, seriesOf } from '../live/history.ts'
import { history, snapshot } from '../live/store.ts'
import { exactTime } from '../words/times.ts'

/** A new array for each line: times, then values. */
type Line = (sample: Sample, before: Sample | null) => number | null

interface ChartProps {
  readonly lines: readonly Line[]
  readonly valueText: (value: number) => string
  /** The scale never ends below: what is small is not drawn large. */
  readonly leastTop: number
  /** Bytes are counted in powers of two. @default powers of ten */
  readonly isBinary?: boolean
}

/** Between two lines of the grid: whole numbers, as what is counted. */
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power)
const WHOLE = Array.from({ length: 15 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat()
/** A page that was just opened has room for what comes, and its first half second is seen. */
const LEAST_SPAN_SECONDS = 10
const HEIGHT_PX = 170
const ROOM_ABOVE = 1.15
const DARK = matchMedia('(prefers-color-scheme: dark)')

export function Chart(props: ChartProps) {
  const { lines } = props
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<UPlot | null>(null)
  useEffect(() => {
    const box = place.current
    if (box === null) return undefined
    const draw = (): void => {
      plot.current?.destroy()
      plot.current = new UPlot(optionsFor(box, props), dataOf(lines), box)
    }
    const fit = new ResizeObserver(() =>
      plot.current?.setSize({ width: box.clientWidth, height: HEIGHT_PX }),
    )
    draw()
    fit.observe(box)
    DARK.addEventListener('change', draw)
    return () => {
      DARK.removeEventListener('change', draw)
      fit.disconnect()
      plot.current?.destroy()
      plot.current = null
    }
  }, [])
  useSignalEffect(() => {
    if (snapshot.value !== null) plot.current?.setData(dataOf(lines))
  })
  return <div ref={place} class="chart" aria-hidden="true" />
}

function dataOf(lines: readonly Line[]): UPlot.AlignedData {
  const columns = lines.map((line) => seriesOf(history.samples, line))
  return [columns[0]?.[0] ?? [], ...columns.map(([, values]) => values)]
}

function optionsFor(
  box: HTMLElement,
  { lines, valueText, leastTop, isBinary = false }: ChartProps,
): UPlot.Options {
  const color = colorsIn(box)
  const axis = {
    stroke: color('--quiet'),
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false },
    font: '12px system-ui, sans-serif',
  }
  return {
    width: box.clientWidth,
    height: HEIGHT_PX,
    cursor: { show: false },
    legend: { show: false },
    padding: [8, 32, 0, 0],
    scales: {
      x: { range: (_, min, max) => [min, Math.max(max, min + LEAST_SPAN_SECONDS)] },
      y: { range: (_, __, max) => [0, Math.max(leastTop, max * ROOM_ABOVE)] },
    },
    axes: [
      { ...axis, size: 28, space: 90, values: (_, times) => times.map(timeText) },
      {
        ...axis,
        size: 72,
        values: (_, values) => values.map(valueText),
        incrs: isBinary ? POWERS : WHOLE,
      },
    ],
    series: [
      {},
      ...lines.map((_, index) => ({
        stroke: color(`--line-${index + 1}`),
        width: 2,
        points: { show: false },
        ...(index === 0 ? { fill: color('--line-1-fill') } : { dash: [6, 4] }),
      })),
    ],
  }
}

/** The canvas takes no variables: what they are at this place, in this scheme. */
function colorsIn(box: HTMLElement): (name: string) => string {
  return (name) => {
    const probe = document.createElement('span')
    probe.style.color = `var(${name})`
    box.append(probe)
    const { color } = getComputedStyle(probe)
    probe.remove()
    return color
  }
}

/** `14:02:30`. */
function timeText(seconds: number): string {
  return exactTime(seconds * 1_000).slice(0, 8)
}
