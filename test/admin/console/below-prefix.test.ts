/**
 * The console in a real browser below path prefixes of a real nginx: two gateways under one name,
 * with a login each.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashPassword } from '../../../gateway/shared/passwords/password-file.ts'
import { GatewayProcess } from '../../support/gateway-process.ts'
import { PASS_ON, startNginx } from '../../support/nginx.ts'
import { reapProcesses } from '../../support/process.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { logIn, openPage, startChromium } from './browser.ts'

let folder: string
let sink: ScriptedSink
let site: string
let browser: Browser

async function startGateway(name: string, usersFile: string): Promise<GatewayProcess> {
  return await GatewayProcess.start({
    folder: mkdtempSync(join(folder, `${name}-`)),
    sinkUrl: sink.url,
    sections: { admin: { usersFile } },
  })
}

describeWithTool(['chromium', 'nginx'], 'the console below a prefix', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-prefix-'))
    const usersFile = join(folder, 'users')
    writeFileSync(usersFile, `otto:${await hashPassword('acts')}:operator\n`, { mode: 0o600 })
    sink = await ScriptedSink.start()
    const seven = await startGateway('seven', usersFile)
    const eight = await startGateway('eight', usersFile)
    const port = await startNginx(folder, [
      { path: '/box-7/', to: `${seven.adminUrl}/`, directives: PASS_ON },
      { path: '/box-8/', to: `${eight.adminUrl}/`, directives: PASS_ON },
    ])
    site = `https://localhost:${port}`
    browser = await startChromium()
  })
  afterAll(async () => {
    await browser?.close()
    await reapProcesses()
    await sink?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('loads, logs in, follows, acts and logs out, with nothing asked outside the prefix', async () => {
    const { page, context, requests, complaints } = await openPage(browser, {
      anyCertificate: true,
    })
    const enter = async (box: string): Promise<void> => {
      // Without its last slash, as a person types it.
      await page.goto(`${site}/${box}`)
      await logIn(page, 'otto', 'acts')
      await page.getByText('otto, operator').waitFor()
      await page.getByRole('heading', { name: 'Every reading accounted for' }).waitFor()
    }
    await enter('box-7')
    await page.goto(`${site}/box-7/#/sinks`)
    await page.getByText('Try one reading').click()
    await page.getByRole('button', { name: 'Preview what is sent' }).click()
    await page.locator('pre').getByText('POST').waitFor()
    const within = `${site}/box-7`
    expect(requests.length).toBeGreaterThan(5)
    expect(requests.filter((url) => !url.startsWith(within))).toEqual([])
    await enter('box-8')
    await page.goto(`${site}/box-7/#/spool`)
    await page.getByRole('heading', { name: 'Streams on disk' }).waitFor()
    const cookies = await context.cookies(`${site}/box-7/`)
    expect(cookies).toMatchObject([
      {
        name: '__Secure-sluice',
        path: '/box-7/',
        secure: true,
        httpOnly: true,
        sameSite: 'Strict',
      },
    ])
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('button', { name: 'Log in', exact: true }).waitFor()
    expect(await context.cookies(`${site}/box-7/`)).toEqual([])
    await page.goto(`${site}/box-8/#/spool`)
    await page.getByRole('heading', { name: 'Streams on disk' }).waitFor()
    // A browser notes each 401, by which the console learns that nobody is logged in.
    expect(complaints.filter((text) => !text.includes('401'))).toEqual([])
    await context.close()
  })
})
