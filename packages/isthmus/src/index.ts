/**
 * All of isthmus, in one import. In a browser, `browser.ts` takes the place of this module.
 *
 * `export *` leaves out a name that two of the packages export: a test compares.
 */
export * from '@isthmus/ring'
export { structured } from '@isthmus/ring/structured'
export * from '@isthmus/shm-posix'
export * from '@isthmus/sync'
