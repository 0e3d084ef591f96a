/**
 * The console in a real browser at a real gateway: what each view says and does, on a phone and on a
 * desk, in the light and in the dark, by keyboard, without a connection, and against those who put
 * markup into what it shows.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { GatewayProcess } from '../../support/gateway-process.ts'
import { reapProcesses } from '../../support/process.ts'
import { type ScriptedRequest, ScriptedSink, type Step } from '../../support/scripted-sink.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { type Look, openPage, type Seen, seriousFindings, startChromium } from './browser.ts'

/** What would run if any view took text for markup. */
const MARKUP = '<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=1</script>'
/** The same as far as a topic may hold it. */
const TOPIC_MARKUP = '<img src=x onerror="globalThis.hit=1">'

const VIEWS = [
  ['overview', 'Overview'],
  ['devices', 'Devices'],
  ['reading', 'A reading’s way'],
  ['sinks', 'Sinks'],
  ['dead-letters', 'Dead letters'],
  ['spool', 'Spool'],
  ['configuration', 'Configuration'],
] as const

/** Layout is looked at at each width, contrast in each scheme at each width. */
const LOOKS = [
  { width: 360, scheme: 'light', rules: 'all' },
  { width: 360, scheme: 'dark', rules: 'color-contrast' },
  { width: 1440, scheme: 'light', rules: 'color-contrast' },
  { width: 1440, scheme: 'dark', rules: 'all' },
] as const

/** More than any view has. */
const MAX_TABS = 60
/** Devices: more than a page of the table. */
const MANY = 120

let folder: string
let sink: ScriptedSink
let gateway: GatewayProcess
let device: MqttClient
let browser: Browser
/** The receiver lets nobody in. */
let isForbidden = false

/** Takes all but what says `refuse`, which it refuses with markup in its reason. */
function answer({ lines }: ScriptedRequest): Step {
  if (isForbidden) return { status: 401, body: `no entry ${MARKUP}` }
  const rejected = lines
    .map((line) => JSON.parse(line) as { seq: number; payload: { refuse?: boolean } })
    .filter(({ payload }) => payload.refuse === true)
    .map(({ seq }) => ({ seq, status: 422, reason: `not wanted ${MARKUP}` }))
  return { status: 200, body: { rejected } }
}

async function publish(payload: object, topic = 'plant/press-7/temp'): Promise<void> {
  await device.publishAsync(topic, JSON.stringify(payload), { qos: 1 })
}

/** A reading that the sink refuses, and one behind it that shows that it takes others. */
async function makeDeadLetters(count: number): Promise<void> {
  const before = (await gateway.status()).streams[0]?.deadLetters.kept ?? 0
  for (let n = 0; n < count; n += 1)
    await publish({ refuse: true, note: MARKUP, n }, `plant/${TOPIC_MARKUP}`)
  await publish({ celsius: 21.4 })
  await gateway.untilStatus(
    'the refused ones are dead letters',
    ({ streams }) => (streams[0]?.deadLetters.kept ?? 0) >= before + count,
  )
}

async function open(view: string, look: Look = {}): Promise<Seen> {
  const seen = await openPage(browser, look)
  await seen.page.goto(`${gateway.adminUrl}/#/${view}`)
  return seen
}

async function go(page: Page, view: (typeof VIEWS)[number][0]): Promise<void> {
  await page.goto(`${gateway.adminUrl}/#/${view}`)
  const [, title] = VIEWS.find(([path]) => path === view) ?? []
  await page.getByRole('heading', { level: 1, name: title ?? '' }).waitFor()
}

/** Does it while the receiver answers 401, and waits until all is delivered again. */
async function heldWhile(look: () => Promise<void>): Promise<void> {
  isForbidden = true
  await publish({ celsius: 22 })
  await gateway.untilStatus('the sink is held', ({ sinks }) => sinks[0]?.state === 'held')
  await look()
  isForbidden = false
  await fetch(`${gateway.adminUrl}/api/sinks/cloud/retry`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
  })
  await gateway.untilStatus('it is delivered', ({ sinks }) => sinks[0]?.state === 'ok')
}

describeWithTool('chromium', 'the console', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-console-'))
    sink = await ScriptedSink.start({ script: answer })
    gateway = await GatewayProcess.start({
      folder,
      sinkUrl: sink.url,
      sink: { linger: '0s' },
      sections: { streams: { telemetry: { topics: ['plant/#'], sink: 'cloud' } } },
    })
    device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId: MARKUP })
    await publish({ celsius: 20.1 })
    // No stream takes this one.
    await publish({ celsius: 20.1 }, `elsewhere/${TOPIC_MARKUP}`)
    await makeDeadLetters(3)
    browser = await startChromium()
  })
  afterAll(async () => {
    await browser?.close()
    await device?.endAsync(true)
    await reapProcesses()
    await sink?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(LOOKS)(
    'each view at $width px, $scheme: no serious finding of axe, nothing cut off, nothing asked of others',
    async (look) => {
      const { page, context, requests, complaints } = await open('overview', look)
      for (const [path, title] of VIEWS) {
        await page.goto(`${gateway.adminUrl}/#/${path}`)
        await page.getByRole('heading', { level: 1, name: title }).waitFor()
        await page.getByText('Asking the gateway').waitFor({ state: 'hidden' })
        expect(await seriousFindings(page, look.rules), path).toEqual([])
        const width = await page.evaluate<number>('document.documentElement.scrollWidth')
        expect(width, path).toBeLessThanOrEqual(look.width)
      }
      expect(requests.filter((url) => !url.startsWith(`${gateway.adminUrl}/`))).toEqual([])
      expect(complaints).toEqual([])
      await context.close()
    },
  )

  test('what devices, topics, payloads and sinks say is text in every view', async () => {
    const { page, context, complaints } = await open('overview')
    await page.getByText(`elsewhere/${TOPIC_MARKUP} of ${MARKUP}`).waitFor()
    await go(page, 'dead-letters')
    await page.locator('summary').first().click()
    await page.getByText(`not wanted ${MARKUP}`).first().waitFor()
    await page.getByText(`plant/${TOPIC_MARKUP}`).first().waitFor()
    await page.getByText(JSON.stringify(MARKUP)).first().waitFor()
    await heldWhile(async () => {
      await go(page, 'sinks')
      await page.getByText(`no entry ${MARKUP}`).first().waitFor()
      for (const [path] of VIEWS) await go(page, path)
    })
    expect(await page.evaluate('globalThis.hit')).toBeUndefined()
    expect(await page.locator('img, #console script').count()).toBe(0)
    expect(complaints).toEqual([])
    await context.close()
  })

  test('the overview says that data flows, then that a sink is held and why, then that it flows again', async () => {
    const { page, context } = await open('overview')
    const first = page.getByRole('region', { name: 'How it stands' })
    await first.getByRole('heading', { name: /Data is flowing|Ready/ }).waitFor()
    await first.getByText('Not delivered: 1 message no stream takes').waitFor()
    await page.getByRole('cell', { name: 'nothing missing' }).first().waitFor()
    await heldWhile(async () => {
      await first.getByRole('heading', { name: 'sink cloud does not take them' }).waitFor()
      await first.getByText(/^Held since \d\d:\d\d .*401/).waitFor()
      const attention = page.getByRole('region', { name: 'Needs attention' })
      const line = attention.getByRole('listitem').filter({ hasText: 'Sink cloud is held' })
      await line.getByRole('link', { name: 'Look' }).click()
      await page.getByRole('heading', { level: 1, name: 'Sinks' }).waitFor()
      await page.goBack()
    })
    await first.getByRole('heading', { name: /Data is flowing|Ready/ }).waitFor()
    await context.close()
  })

  test('a held sink is asked at once by "Retry now"', async () => {
    const { page, context } = await open('sinks')
    await heldWhile(async () => {
      const card = page.getByRole('article', { name: 'cloud' })
      await card.getByText('Everything is kept. Mend the cause').waitFor()
      const before = sink.requests.length
      await card.getByRole('button', { name: 'Retry now' }).click()
      await card.getByText('Sink cloud is asked now.').waitFor()
      await sink.waitForRequests(before + 1)
    })
    await context.close()
  })

  test('dead letters: the chosen one is requeued; purge asks twice and takes no for an answer', async () => {
    const { page, context } = await open('dead-letters')
    const counts = async () => (await gateway.status()).streams[0]?.deadLetters
    await page
      .getByText(/\d (KiB|B) of 64\.0 MiB\. When full, delivery of the stream is held/)
      .waitFor()
    await page.getByText(/\b0 B of 64\.0 MiB\. When full, what the stream refuses waits/).waitFor()
    await page.getByRole('checkbox').nth(1).check()
    await page.getByRole('button', { name: 'Requeue 1 chosen' }).click()
    await page.getByText('1 dead letter requeued.').waitFor()
    expect((await counts())?.requeued).toBe(1)
    const purge = page.getByRole('button', { name: /^Purge all / })
    await purge.click()
    const dialog = page.getByRole('dialog')
    const yes = dialog.getByRole('button', { name: 'Purge', exact: true })
    expect(await yes.getAttribute('class')).toBe('grave')
    await yes.click()
    await dialog.getByRole('heading', { name: 'Nobody can bring them back' }).waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect((await counts())?.removed['purged'] ?? 0).toBe(0)
    await purge.click()
    await dialog.getByRole('button', { name: 'Purge', exact: true }).click()
    await dialog.getByRole('button', { name: 'Delete for good' }).click()
    await page.getByText(/dead letters? purged\.$/).waitFor()
    expect((await counts())?.removed['purged']).toBeGreaterThanOrEqual(2)
    await context.close()
    await makeDeadLetters(1)
  })

  test('a test reading: each stage with its time, and what keeps it while the sink is held', async () => {
    const { page, context } = await open('reading')
    await page.getByLabel('Topic').fill('plant/press-7/try')
    await page.getByRole('button', { name: 'Send a test reading' }).click()
    await page.getByRole('heading', { name: 'It arrived: plant/press-7/try' }).waitFor()
    const stages = page.getByRole('main').getByRole('listitem')
    expect(await stages.locator('strong').allInnerTexts()).toEqual([
      'Arrived',
      'Committed',
      'Acknowledged',
      'Sent',
      'Stored',
    ])
    for (const stage of await stages.allInnerTexts()) expect(stage).toMatch(/\d\d:\d\d:\d\d\.\d{3}/)
    await heldWhile(async () => {
      await page.getByRole('button', { name: 'Send a test reading' }).click()
      await page.getByRole('heading', { name: 'On its way' }).waitFor()
      await stages.filter({ hasText: 'not yet' }).filter({ hasText: '401' }).first().waitFor()
      await go(page, 'sinks')
    })
    await go(page, 'reading')
    await page.getByRole('heading', { name: 'It arrived' }).waitFor()
    await page.getByLabel('Topic').fill('nowhere/at/all')
    await page.getByRole('button', { name: 'Send a test reading' }).click()
    await page.getByRole('status').getByText('[ADMIN_BAD_REQUEST]').waitFor()
    await context.close()
  })

  test('devices: who is connected, who was seen last; search, sort, pages of the gateway', async () => {
    const others = await Promise.all(
      Array.from({ length: MANY }, (_, n) =>
        connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId: `many-${n + 100}` }),
      ),
    )
    await Promise.all(others.map((other) => other.endAsync()))
    const { page, context } = await open('devices')
    await page.getByText(`${MANY + 1} devices known`).waitFor()
    const rows = page.getByRole('table').getByRole('row')
    await page.getByText(`1 to 100 of ${MANY + 1}`).waitFor()
    await page.getByRole('button', { name: 'Next' }).click()
    await page.getByText(`101 to ${MANY + 1} of ${MANY + 1}`).waitFor()
    await page.getByRole('button', { name: 'Previous' }).click()
    await page.getByText(`1 to 100 of ${MANY + 1}`).waitFor()
    await page.getByLabel('Sort by').selectOption('Name')
    await rows.nth(1).getByText(MARKUP).waitFor()
    await rows
      .nth(1)
      .getByText(/^\W*connected$/)
      .waitFor()
    await page.getByLabel('Search client ids').fill('many-17')
    await rows.nth(10).getByText('many-179').waitFor()
    expect(await rows.count()).toBe(11)
    await rows.nth(1).getByText('not connected').waitFor()
    await page.getByLabel('Silent ones only').check()
    await page.getByText('none matches').waitFor()
    await context.close()
  })

  test('a device that is gone is forgotten, asked twice; one that is connected has no button', async () => {
    const gone = `gone/${TOPIC_MARKUP}`
    const leaver = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId: gone })
    await leaver.endAsync()
    const { page, context } = await open('devices')
    await page.getByLabel('Search client ids').fill(gone)
    const row = page.getByRole('row').filter({ hasText: gone })
    const button = row.getByRole('button', { name: `Forget ${gone} …` })
    await button.click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Forget', exact: true }).click()
    await dialog.getByRole('heading', { name: 'Is it gone for good?' }).waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    const known = async (): Promise<boolean> =>
      (await (await fetch(`${gateway.adminUrl}/api/devices`)).text()).includes(JSON.stringify(gone))
    expect(await known(), 'a no forgets nothing').toBe(true)
    await button.click()
    await dialog.getByRole('button', { name: 'Forget', exact: true }).click()
    await dialog.getByRole('button', { name: 'Forget it for good' }).click()
    await page.getByText(`Device ${gone} is forgotten.`).waitFor()
    await page.getByText('none matches').waitFor()
    expect(await known()).toBe(false)
    await page.getByLabel('Search client ids').fill(MARKUP)
    await page
      .getByRole('row')
      .filter({ hasText: MARKUP })
      .getByText('no', { exact: true })
      .waitFor()
    expect(await page.getByRole('button', { name: /^Forget/ }).count()).toBe(0)
    await context.close()
  })

  test('where no device was seen yet, it says where they connect', async () => {
    const { page, context } = await openPage(browser)
    const none = { devices: [], total: 0, next: null }
    await page.route('**/api/devices?**', (route) => route.fulfill({ json: none }))
    await page.goto(`${gateway.adminUrl}/#/devices`)
    await page.getByText(/^No devices yet: .* at .*:\d+\.$/).waitFor()
    await context.close()
  })

  test('a view that fails says so, and the others go on', async () => {
    const { page, context } = await openPage(browser)
    await page.route('**/api/devices?**', (route) => route.fulfill({ json: { devices: [null] } }))
    await page.goto(`${gateway.adminUrl}/#/devices`)
    await page.getByText('This view cannot be shown').waitFor()
    await go(page, 'spool')
    await page.getByRole('heading', { name: 'Streams on disk' }).waitFor()
    await context.close()
  })

  test('configuration: what is in effect, what the file says otherwise, apply; the level of the log', async () => {
    const { page, context } = await open('configuration')
    await page.getByText('The file says what is in effect.').waitFor()
    await page.locator('pre').getByText('url: ').waitFor()
    const before = readFileSync(gateway.configPath, 'utf8')
    const written = JSON.parse(before) as { sinks: { cloud: Record<string, unknown> } }
    written.sinks.cloud['linger'] = '50ms'
    writeFileSync(gateway.configPath, JSON.stringify(written))
    await page.getByRole('button', { name: 'Look again' }).click()
    const row = page.getByRole('row').filter({ hasText: 'sinks.cloud.linger' })
    await row.getByText('by replacing the sink or listener').waitFor()
    await page.getByLabel('If it goes wrong').selectOption('Keep it, whatever happens')
    await page.getByRole('button', { name: 'Apply …' }).click()
    const yes = page.getByRole('dialog').getByRole('button', { name: 'Apply' })
    expect(await yes.getAttribute('class'), 'nothing is destroyed').toBe('main')
    await yes.click()
    await page.getByText('1 change applied.').waitFor()
    await page.getByText('The file says what is in effect.').waitFor()
    writeFileSync(gateway.configPath, 'sinks: {')
    await page.getByRole('button', { name: 'Look again' }).click()
    await page.getByText('The file cannot be used as it is').waitFor()
    writeFileSync(gateway.configPath, before)
    await page.getByLabel('Level until a reload').selectOption('debug')
    await page.getByRole('button', { name: 'Set' }).click()
    await page.getByText('The log is written from level debug on.').waitFor()
    await context.close()
  })

  test('a sink: what it would be sent, and what it says to one message', async () => {
    const { page, context } = await open('sinks')
    await page.getByText('Try one reading').click()
    await page.getByLabel('Payload').fill(JSON.stringify({ note: MARKUP }))
    await page.getByRole('button', { name: 'Preview what is sent' }).click()
    const shown = page.locator('pre')
    await shown.getByText('POST').waitFor()
    expect(await shown.innerText()).toContain(JSON.stringify(MARKUP).slice(1, -1))
    const before = sink.requests.length
    await page.getByRole('button', { name: 'Send it as a test' }).click()
    expect(sink.requests.length).toBe(before)
    await page.getByRole('dialog').getByRole('button', { name: 'Send it' }).click()
    await page.getByText('The receiver took it.').waitFor()
    expect(sink.requests.length).toBe(before + 1)
    const answer = await shown.innerText()
    await go(page, 'spool')
    await go(page, 'sinks')
    await page.getByText('The receiver took it.').waitFor()
    await page.getByText(/^Test, made .*\d\d:\d\d$/).waitFor()
    expect(await shown.innerText(), 'kept while one looked elsewhere').toBe(answer)
    expect(await page.getByLabel('Payload').inputValue()).toBe(JSON.stringify({ note: MARKUP }))
    await context.close()
  })

  test('the spool is verified on request; what came of it is kept for who looked elsewhere meanwhile', async () => {
    const { page, context } = await open('spool')
    let lookBack = (): void => undefined
    const looked = new Promise<void>((resolve) => {
      lookBack = resolve
    })
    await page.route('**/api/spool/verify', async (route) => {
      await looked
      await route.continue()
    })
    await page.getByRole('button', { name: 'Verify the spool' }).click()
    await page.getByText('Every block is read').waitFor()
    await go(page, 'devices')
    lookBack()
    await go(page, 'spool')
    await page.getByText(/^\W*\d+ blocks? read, all whole\.$/).waitFor()
    await context.close()
  })

  test('everything can be reached and done by keyboard alone', async () => {
    const { page, context } = await open('overview')
    await page.getByRole('heading', { name: 'Every reading accounted for' }).waitFor()
    const focused = async (): Promise<string> =>
      await page.evaluate<string>('document.activeElement.id || document.activeElement.textContent')
    const tabTo = async (isThere: (text: string) => boolean): Promise<void> => {
      for (let tabs = 0; tabs < MAX_TABS; tabs += 1) {
        await page.keyboard.press('Tab')
        if (isThere(await focused())) return
      }
      throw new Error(`not reached within ${MAX_TABS} tabs`)
    }
    await tabTo((text) => text === 'Skip to the view')
    await tabTo((text) => text === 'Dead letters')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: /^Purge/ }).waitFor()
    expect(await focused()).toBe('view')
    await tabTo((text) => text.startsWith('Purge all'))
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    // The first answer is the harmless one.
    expect(await focused()).toBe('Cancel')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    await context.close()
  })

  test('the bar of a phone has room for a long name beside the menu', async () => {
    const { page, context } = await open('reading', { width: 360 })
    const brand = page.locator('.brand')
    const menu = page.getByRole('button', { name: 'A reading’s way' })
    await page.getByRole('heading', { level: 1 }).waitFor()
    await brand.evaluate((element) => element.append('-of-the-northern-pumping-station-3'))
    const [left, right] = [await brand.boundingBox(), await menu.boundingBox()]
    if (left === null || right === null) throw new Error('the bar is not there')
    expect(left.x + left.width).toBeLessThanOrEqual(right.x)
    expect(right.y).toBeLessThan(left.y + left.height)
    expect(right.x + right.width).toBeLessThanOrEqual(360)
    await context.close()
  })

  test('a phone has the views in a menu that closes behind the choice, and by Escape', async () => {
    const { page, context } = await open('overview', { width: 360 })
    const menu = page.getByRole('button', { name: 'Overview' })
    expect(await menu.getAttribute('aria-expanded')).toBe('false')
    await menu.click()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Escape')
    await page.getByRole('link', { name: 'Spool' }).waitFor({ state: 'hidden' })
    await page.keyboard.press('Enter')
    await page.getByRole('link', { name: 'Spool' }).click()
    await page.getByRole('heading', { level: 1, name: 'Spool' }).waitFor()
    await page.getByRole('link', { name: 'Devices' }).waitFor({ state: 'hidden' })
    expect(await page.evaluate('document.getAnimations().length'), 'motion').toBe(0)
    await context.close()
  })

  test('says that the gateway is gone, since when, and shows it again when it is back, in a view that was opened meanwhile, too', async () => {
    const { page, context } = await open('overview')
    await page.getByRole('heading', { name: 'Every reading accounted for' }).waitFor()
    await gateway.kill()
    const alert = page.getByRole('alert')
    await alert.getByText('No connection to the gateway.').waitFor()
    await alert.getByText(/What you see is from \d\d:\d\d:\d\d\./).waitFor()
    await alert.getByText(/since \d\d:\d\d/).waitFor()
    expect(await page.locator('main').getAttribute('class')).toBe('stale')
    await go(page, 'dead-letters')
    await page.getByText('Asking the gateway').waitFor()
    await gateway.start()
    await alert.getByText('No connection').waitFor({ state: 'hidden' })
    expect(await page.locator('main').getAttribute('class')).toBe('')
    // What could not be asked for meanwhile is asked for now.
    await page.getByText(/^No dead letters: |^Requeue all/).waitFor()
    await context.close()
  })
})
