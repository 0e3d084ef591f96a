/** The console's first statement: the page, and the live connection behind it. */
import { render } from 'preact'
import { follow, keepTime, watchNetwork } from './live/feed.ts'
import { Shell } from './shell.tsx'
import './style/base.css'
import './style/layout.css'
import './style/parts.css'

const root = document.getElementById('console')
if (root !== null) render(<Shell />, root)
keepTime()
watchNetwork()
void follow()
