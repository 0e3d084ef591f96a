/**
 * Logging in to the console in a real browser: by name with a role, by the token, and what a viewer
 * is not shown.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashPassword } from '../../../gateway/shared/passwords/password-file.ts'
import { GatewayProcess } from '../../support/gateway-process.ts'
import { reapProcesses } from '../../support/process.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { logIn, openPage, type Seen, seriousFindings, startChromium } from './browser.ts'

const TOKEN = 'a-token-of-this-test'

let folder: string
let sink: ScriptedSink
let gateway: GatewayProcess
let browser: Browser

async function open(): Promise<Seen> {
  const seen = await openPage(browser)
  await seen.page.goto(`${gateway.adminUrl}/#/spool`)
  await seen.page.getByRole('button', { name: 'Log in', exact: true }).waitFor()
  return seen
}

describeWithTool('chromium', 'logging in to the console', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-console-login-'))
    const usersFile = join(folder, 'users')
    const lines = [
      `vera:${await hashPassword('looks')}:viewer`,
      `otto:${await hashPassword('acts')}:operator`,
    ]
    writeFileSync(usersFile, `${lines.join('\n')}\n`, { mode: 0o600 })
    sink = await ScriptedSink.start()
    gateway = await GatewayProcess.start({
      folder,
      sinkUrl: sink.url,
      sections: { admin: { usersFile, token: TOKEN } },
    })
    const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
      clientId: 'press-7',
    })
    await device.endAsync()
    browser = await startChromium()
  })
  afterAll(async () => {
    await browser?.close()
    await reapProcesses()
    await sink?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('a wrong password is refused in words, and the form has no serious finding of axe', async () => {
    const { page, context } = await open()
    expect(await seriousFindings(page)).toEqual([])
    await logIn(page, 'otto', 'guessed')
    await page.getByText('wrong user name or password').waitFor()
    await context.close()
  })

  test('a viewer sees all and can do nothing', async () => {
    const { page, context } = await open()
    await logIn(page, 'vera', 'looks')
    await page.getByText('vera, viewer').waitFor()
    await page.getByRole('heading', { name: 'Streams on disk' }).waitFor()
    expect(await page.getByRole('button', { name: 'Verify the spool' }).count()).toBe(0)
    for (const view of ['devices', 'reading', 'sinks', 'dead-letters', 'configuration']) {
      await page.goto(`${gateway.adminUrl}/#/${view}`)
      await page.getByText('Asking the gateway').waitFor({ state: 'hidden' })
      if (view === 'devices') await page.getByRole('row').getByText('not connected').waitFor()
      const buttons = await page.locator('main').getByRole('button').allInnerTexts()
      expect(
        buttons.filter((text) => text !== 'Look again'),
        view,
      ).toEqual([])
    }
    await context.close()
  })

  test('an operator acts; logging out ends it', async () => {
    const { page, context } = await open()
    await logIn(page, 'otto', 'acts')
    await page.getByText('otto, operator').waitFor()
    await page.getByRole('button', { name: 'Verify the spool' }).waitFor()
    await page.goto(`${gateway.adminUrl}/#/devices`)
    await page.getByRole('button', { name: 'Forget press-7 …' }).waitFor()
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('button', { name: 'Log in', exact: true }).waitFor()
    await page.reload()
    await page.getByRole('button', { name: 'Log in', exact: true }).waitFor()
    await context.close()
  })

  test('who is logged out by the gateway is told that the session has ended', async () => {
    const { page, context } = await open()
    const ended = page.getByText('Your session has ended: log in again.')
    expect(await ended.count()).toBe(0)
    await logIn(page, 'vera', 'looks')
    await page.getByText('vera, viewer').waitFor()
    const former = readFileSync(join(folder, 'users'), 'utf8')
    writeFileSync(join(folder, 'users'), former.replace(/^vera:.*\n/m, ''))
    await ended.waitFor()
    await logIn(page, 'otto', 'acts')
    await page.getByText('otto, operator').waitFor()
    await ended.waitFor({ state: 'hidden' })
    writeFileSync(join(folder, 'users'), former)
    await context.close()
  })

  test('the token lets an operator in', async () => {
    const { page, context } = await open()
    await page.getByRole('button', { name: 'Log in with the token' }).click()
    await page.getByLabel('Token').fill(TOKEN)
    await page.getByRole('button', { name: 'Log in', exact: true }).click()
    await page.getByText('With the token, operator').waitFor()
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('button', { name: 'Log in with the token' }).click()
    await page.getByLabel('Token').fill('wrong')
    await page.getByRole('button', { name: 'Log in', exact: true }).click()
    await page.getByText('wrong token').waitFor()
    await context.close()
  })
})
