import { json, latest } from 'isthmus'

export type Settings = { volume: number; greeting: string; isOver: boolean }

/** What all workers follow: only the newest settings count. */
export const settings = latest({ byteLength: 1024, codec: json<Settings>() })
export const defaults: Settings = { volume: 1, greeting: 'hello', isOver: false }
export const name = '/isthmus-example-settings'
