/** Reads a password: from a terminal without echo, twice; from anything else one line. */
import type { CliContext } from './context.ts'
import { CliError, EXIT } from './exit.ts'

/**
 * No device sends a longer one: an MQTT password has at most 65,535 bytes (3.1.1, section 3.1.3.5).
 */
const MAX_BYTES = 65_535

export async function readPassword(context: CliContext): Promise<string> {
  if (!context.stdin.isTTY) return oneLine(await readAll(context.stdin))
  const password = await askHidden(context, 'Password: ')
  if (password === '') throw new CliError(EXIT.usage, 'the password is empty')
  if ((await askHidden(context, 'Again: ')) !== password)
    throw new CliError(EXIT.failed, 'the two passwords differ; nothing was changed')
  return password
}

async function readAll(stdin: NodeJS.ReadStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    const bytes = Buffer.from(chunk)
    length += bytes.length
    // One more for the line feed.
    if (length > MAX_BYTES + 2)
      throw new CliError(EXIT.usage, `a password has at most ${MAX_BYTES} bytes`)
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}

/** One trailing line break is cut, as of a secret file. */
function oneLine(bytes: Buffer): string {
  const text = bytes.toString('utf8').replace(/\r?\n$/, '')
  if (!Buffer.from(text, 'utf8').equals(bytes.subarray(0, Buffer.byteLength(text))))
    throw new CliError(EXIT.usage, 'the password is not UTF-8')
  if (text === '')
    throw new CliError(EXIT.usage, 'the password is empty; write it to standard input')
  if (text.includes('\n')) throw new CliError(EXIT.usage, 'the password has more than one line')
  return text
}

/**
 * In raw mode the terminal shows nothing; so this has to do what it does otherwise: Enter,
 * backspace, Ctrl-C, Ctrl-U.
 */
async function askHidden({ stdin, stderr }: CliContext, question: string): Promise<string> {
  // Before the question, so that a fast answer is not echoed either.
  stdin.setRawMode(true)
  stderr.write(question)
  stdin.setEncoding('utf8')
  stdin.resume()
  try {
    return await new Promise<string>((resolve, reject) => {
      let typed: string[] = []
      const cancel = (): void =>
        finish(() => reject(new CliError(EXIT.failed, 'cancelled; nothing was changed')))
      const finish = (then: () => void): void => {
        stdin.off('data', onData)
        stdin.off('end', cancel)
        then()
      }
      const onData = (chunk: string | Buffer): void => {
        for (const char of String(chunk)) {
          if (char === '\r' || char === '\n') return finish(() => resolve(typed.join('')))
          if (char === '\u0003' || char === '\u0004') return cancel()
          if (char === '\u007F' || char === '\b') typed.pop()
          else if (char === '\u0015') typed = []
          else if (char >= ' ') typed.push(char)
        }
      }
      stdin.on('data', onData)
      stdin.on('end', cancel)
    })
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}
