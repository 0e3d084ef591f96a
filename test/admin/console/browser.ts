/**
 * Chromium as Debian has it, for tests that look at the console as a person does. One browser for a
 * test file, a context of its own for each look; each page notes what it asked for and what it
 * complained of.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { findTool } from '../../support/tools.ts'

export interface Look {
  /** Of the viewport, px. @default 1440 */
  readonly width?: number
  /** @default light */
  readonly scheme?: 'light' | 'dark'
  /** One whose name is another, too. @default false */
  readonly anyCertificate?: boolean
}

const HEIGHT = 900
/** Of any wait for an element: a busy machine is no fault. */
const TIMEOUT_MS = 20_000

/** Sandboxes need namespaces, which a container of a test may not have. */
export async function startChromium(): Promise<Browser> {
  const executablePath = findTool('chromium')
  if (executablePath === null) throw new Error('chromium is not on PATH')
  return await chromium.launch({ executablePath, args: ['--no-sandbox'] })
}

export interface Seen {
  readonly page: Page
  readonly context: BrowserContext
  /** URLs of all requests. */
  readonly requests: readonly string[]
  /** Errors and warnings of the page: scripts that failed, what the policy forbade. */
  readonly complaints: readonly string[]
}

export async function openPage(browser: Browser, look: Look = {}): Promise<Seen> {
  const context = await browser.newContext({
    viewport: { width: look.width ?? 1440, height: HEIGHT },
    colorScheme: look.scheme ?? 'light',
    reducedMotion: 'reduce',
    ignoreHTTPSErrors: look.anyCertificate ?? false,
  })
  context.setDefaultTimeout(TIMEOUT_MS)
  const page = await context.newPage()
  const requests: string[] = []
  const complaints: string[] = []
  context.on('request', (request) => void requests.push(request.url()))
  page.on('pageerror', (error) => void complaints.push(String(error)))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  return { page, context, requests, complaints }
}

interface Finding {
  readonly id: string
  readonly impact: string
  readonly nodes: ReadonlyArray<{ readonly html: string; readonly failureSummary: string }>
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** What axe finds serious or critical, one line each. */
export async function seriousFindings(
  page: Page,
  rules: 'all' | 'color-contrast' = 'all',
): Promise<string[]> {
  // By the debugger, which the page's policy does not bind.
  await page.evaluate(AXE)
  const options = {
    resultTypes: ['violations'],
    ...(rules === 'all' ? {} : { runOnly: [rules] }),
  }
  const { violations } = await page.evaluate<{ violations: Finding[] }>(
    `axe.run(${JSON.stringify(options)})`,
  )
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    )
}

/** Fills in the form and sends it. */
export async function logIn(page: Page, name: string, password: string): Promise<void> {
  await page.getByLabel('Name').fill(name)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in', exact: true }).click()
}
