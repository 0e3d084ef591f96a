/** Signatures against those that AWS publishes: its test suite, and the examples of S3's manual. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  type AwsRequest,
  sha256Hex,
  sigV4Headers,
} from '../../../../gateway/sink/http/auth/aws-sigv4.ts'

interface Vector {
  readonly name: string
  readonly method: string
  readonly target: string
  readonly headers: ReadonlyArray<readonly [string, string]>
  readonly body: string
  readonly authz: string
}

interface Suite {
  readonly service: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly tests: readonly Vector[]
}

const file = new URL('../../../fixtures/aws/sigv4.json', import.meta.url)
const suite = JSON.parse(readFileSync(file, 'utf8')) as Suite
const EMPTY = sha256Hex([])

/** Names of the headers that the vector has signed, without those that are added by the signer. */
function signedBeside({ authz }: Vector): string[] {
  const names = /SignedHeaders=([^,]+)/.exec(authz)?.[1]?.split(';') ?? []
  return names.filter((name) => name !== 'host' && name !== 'x-amz-date')
}

describe("AWS's test suite", () => {
  test.each(suite.tests.map((one) => [one.name, one] as const))('%s', (name, vector) => {
    const before = name === 'post-sts-header-before'
    const signed = signedBeside(vector).filter((one) => one !== 'x-amz-security-token')
    const token = vector.headers.find(([one]) => one === 'X-Amz-Security-Token')?.[1] ?? null
    const headers = sigV4Headers(
      {
        method: vector.method,
        url: new URL(`https://example.amazonaws.com${vector.target}`),
        headers: vector.headers.filter(([one]) => signed.includes(one.toLowerCase())),
        payloadHash: sha256Hex([Buffer.from(vector.body)]),
        atMs: Date.UTC(2015, 7, 30, 12, 36, 0),
      },
      { ...suite, sessionToken: before ? token : null },
      suite,
    )
    expect(Object.fromEntries(headers)['authorization']).toBe(vector.authz)
    expect(headers.map(([one]) => one)).toEqual([
      'x-amz-date',
      ...(before ? ['x-amz-security-token'] : []),
      'authorization',
    ])
  })

  test('has all of its kinds', () => expect(suite.tests.length).toBe(28))
})

describe("the examples of Amazon S3's manual", () => {
  const credentials = {
    accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    sessionToken: null,
  }
  const sign = (given: Pick<AwsRequest, 'method' | 'headers' | 'payloadHash'>, path: string) => {
    const url = new URL(`https://examplebucket.s3.amazonaws.com${path}`)
    const request = { ...given, url, atMs: Date.UTC(2013, 4, 24) }
    const scope = { region: 'us-east-1', service: 's3' }
    const all = Object.fromEntries(sigV4Headers(request, credentials, scope))
    expect(all['x-amz-content-sha256']).toBe(given.payloadHash)
    return all['authorization']
  }

  test('GET Object', () => {
    const headers = [['Range', 'bytes=0-9']] as const
    expect(sign({ method: 'GET', headers, payloadHash: EMPTY }, '/test.txt')).toMatch(
      /SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41$/,
    )
  })

  test('PUT Object: the name of the object is signed as it is, encoded once', () => {
    const headers = [
      ['Date', 'Fri, 24 May 2013 00:00:00 GMT'],
      ['x-amz-storage-class', 'REDUCED_REDUNDANCY'],
    ] as const
    const payloadHash = sha256Hex([Buffer.from('Welcome to '), Buffer.from('Amazon S3.')])
    const expected = /Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd$/
    expect(sign({ method: 'PUT', headers, payloadHash }, '/test$file.text')).toMatch(expected)
    expect(sign({ method: 'PUT', headers, payloadHash }, '/test%24file.text')).toMatch(expected)
  })

  test('GET Bucket Lifecycle: a query without a value', () => {
    expect(sign({ method: 'GET', headers: [], payloadHash: EMPTY }, '/?lifecycle')).toMatch(
      /Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543$/,
    )
  })

  test('List Objects: a query with values', () => {
    const target = '/?max-keys=2&prefix=J'
    expect(sign({ method: 'GET', headers: [], payloadHash: EMPTY }, target)).toMatch(
      /Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7$/,
    )
  })
})

test('what is no percent-encoding is signed as what it says', () => {
  const url = new URL('https://examplebucket.s3.amazonaws.com/100%?q=5%&a=%')
  const request = { method: 'GET', url, headers: [], payloadHash: EMPTY, atMs: 0 }
  const scope = { region: 'us-east-1', service: 's3' }
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b', sessionToken: 'c' }
  expect(sigV4Headers(request, credentials, scope).map(([name]) => name)).toEqual([
    'x-amz-date',
    'x-amz-content-sha256',
    'x-amz-security-token',
    'authorization',
  ])
})
