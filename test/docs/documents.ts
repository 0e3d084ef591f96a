/**
 * The documents of this repository as data: README.md, CHANGELOG.md and the README.md of each
 * folder; their headings with the anchors that GitHub makes of them, their links, their sections.
 */
import { dirname, join, normalize } from 'node:path'
import { filesBelow, readText } from './source-tree.ts'

export interface Document {
  /** From the root, with slashes. */
  readonly path: string
  readonly text: string
  /** The text without its code blocks. */
  readonly prose: string
  readonly headings: readonly string[]
}

/** A link to something in the repository. */
export interface Link {
  readonly from: string
  /** File or folder from the root. */
  readonly file: string
  /** Without the `#`; null where the link names none. */
  readonly anchor: string | null
}

export function readDocument(path: string): Document {
  const text = readText(path)
  const prose = text.replaceAll(/```[\s\S]*?```/g, '')
  const headings = [...prose.matchAll(/^#+ (.+)$/gm)].map((match) => match[1] ?? '')
  return { path, text, prose, headings }
}

/** README.md first. */
export function readDocuments(): Document[] {
  const folders = ['dashboards', 'device-sim', 'gateway', 'test']
  const paths = folders.flatMap((folder) => filesBelow(folder, '.md'))
  return ['README.md', 'CHANGELOG.md', ...paths].map(readDocument)
}

/** As GitHub makes them. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 _-]/g, '')
    .replaceAll(' ', '-')
}

/** Links in Markdown, and pictures in HTML, without those that leave the repository. */
export function linksOf({ path, prose }: Document): Link[] {
  const targets = [
    ...prose.matchAll(/\]\(([^)\s]+)\)/g),
    ...prose.matchAll(/\b(?:href|src|srcset)="([^"]+)"/g),
  ].map((match) => match[1] ?? '')
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = '', anchor = null] = target.split('#')
      const from = dirname(path)
      return { from: path, file: file === '' ? path : normalize(join(from, file)), anchor }
    })
}

/** Text of the section under a heading, to the next heading of its level or above. */
export function sectionOf({ path, text }: Document, heading: string): string {
  const found: string[] = []
  let level = 0
  let inCode = false
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) inCode = !inCode
    const [, marks = '', title] = inCode ? [] : (/^(#+) (.+)$/.exec(line) ?? [])
    if (level > 0 && title !== undefined && marks.length <= level) break
    if (level > 0) found.push(line)
    else if (title === heading) level = marks.length
  }
  if (level === 0) throw new Error(`${path} has no section ${heading}`)
  return found.join('\n')
}
