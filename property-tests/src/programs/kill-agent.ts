import { Board } from '../kill-points/board.js'
import { hookNativeCalls } from '../kill-points/hooks.js'
import type { Casting } from '../kill-points/parts.js'

/** Plays a part that needs an event loop; see startActor in ../kill-points/actor.ts. */

const [boardPath, casting] = process.argv.slice(2)
const native = hookNativeCalls()
const { play } = await import('../kill-points/actor.js')
await play(JSON.parse(casting) as Casting, new Board(boardPath), native)
process.exit(0)
