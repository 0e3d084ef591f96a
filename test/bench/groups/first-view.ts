/**
 * How soon a console has its first view at a gateway with a large backlog and many devices: the
 * first snapshot over a bare connection, and the whole page in Chromium.
 */
import type { Browser } from 'playwright-core'
import { openPage, startChromium } from '../../admin/console/browser.ts'
import { findTool } from '../../support/tools.ts'
import { openEvents } from '../event-stream.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSluice } from '../group.ts'
import { measureLoad } from '../load.ts'
import { fillBacklog, pending } from '../measures.ts'
import type { System } from '../systems.ts'

const DEVICES = 5_000
const FIRST_SNAPSHOTS = 5
const FIRST_VIEWS = 15
const FIRST_SNAPSHOT = 'first snapshot of a console'
const FIRST_VIEW = 'first view of a console in Chromium, complete'
const WIDTHS_PX = [1440, 360] as const
const FIRST_VIEW_MS = 1_000

/** With as many pending as the backlog has, after that many devices were connected. */
async function firstViews({ backlog, seed, say }: Settings): Promise<Goal[]> {
  if (backlog === 0)
    return [FIRST_SNAPSHOT, FIRST_VIEW].map((measure) =>
      notMeasured(measure, `<= ${FIRST_VIEW_MS} ms`, 'without a backlog'),
    )
  return withSluice({ sink: false }, async (system) => {
    await fillBacklog(system, backlog, seed)
    const few = { devices: DEVICES, seconds: 1, seed, messagesPerSecond: DEVICES }
    await measureLoad(system, few)
    const waiting = await pending(system)
    const note = `${waiting.toLocaleString('en')} records pending, ${DEVICES.toLocaleString('en')} devices known`
    say(`  ${note}`)
    return [await firstSnapshot(system, note), ...(await inChromium(system, note))]
  })
}

async function firstSnapshot(system: System, note: string): Promise<Goal> {
  const times: number[] = []
  for (let i = 0; i < FIRST_SNAPSHOTS; i += 1) {
    const beganMs = performance.now()
    const stream = await openEvents(system.adminUrl ?? '')
    times.push(performance.now() - beganMs)
    stream.destroy()
  }
  const measure = FIRST_SNAPSHOT
  return judged({ measure, atMost: FIRST_VIEW_MS, unit: 'ms', digits: 1, note }, times)
}

async function inChromium(system: System, note: string): Promise<Goal[]> {
  if (findTool('chromium') === null)
    return [notMeasured(FIRST_VIEW, `<= ${FIRST_VIEW_MS} ms`, 'chromium is not on PATH')]
  const browser = await startChromium()
  try {
    const goals: Goal[] = []
    for (const width of WIDTHS_PX) {
      // What the browser itself starts once is no part of it.
      await completeMs(browser, system, width)
      const times: number[] = []
      for (let i = 0; i < FIRST_VIEWS; i += 1) times.push(await completeMs(browser, system, width))
      const measure = `${FIRST_VIEW}, ${width} px`
      goals.push(judged({ measure, atMost: FIRST_VIEW_MS, unit: 'ms', note, digits: 0 }, times))
    }
    return goals
  } finally {
    await browser.close()
  }
}

/**
 * Waits until the overview is complete: each tile has its value, the table of streams is there, and
 * each chart holds pixels of a line (two at zero lie on each other). Resolves with the ms since the navigation began.
 */
const UNTIL_COMPLETE = `new Promise((resolve) => {
  const isComplete = () => {
    const tiles = [...document.querySelectorAll('.tiles strong')]
    const charts = [...document.querySelectorAll('.chart canvas')]
    if (tiles.length === 0 || tiles.some(({ textContent }) => textContent === '…')) return false
    if (charts.length < 2 || document.querySelector('main table') === null) return false
    const probe = document.body.appendChild(document.createElement('i'))
    const lines = ['--line-1', '--line-2'].map((name) => {
      probe.style.color = 'var(' + name + ')'
      return getComputedStyle(probe).color.match(/[0-9]+/g).map(Number)
    })
    probe.remove()
    const isLine = (data, at) => lines.some((line) => line.every((part, i) => data[at + i] === part))
    return charts.every((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] === 255 && isLine(data, at)) return true
      return false
    })
  }
  const look = () => (isComplete() ? resolve(performance.now()) : requestAnimationFrame(look))
  look()
})`

/** From the navigation to the complete overview, in a context without anything cached. */
async function completeMs(browser: Browser, system: System, width: number): Promise<number> {
  const { page, context } = await openPage(browser, { width })
  try {
    await page.goto(system.adminUrl ?? '', { waitUntil: 'commit' })
    return await page.evaluate<number>(UNTIL_COMPLETE)
  } finally {
    await context.close()
  }
}

export const firstView: Group = {
  name: 'first-view',
  about: 'how soon a console has its first view',
  run: firstViews,
}
