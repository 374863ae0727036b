/**
 * All of isthmus, in one import. In a browser, `browser.ts` takes the place of this module.
 *
 * No module of its own stands behind a name here, and no name may be exported by two of the packages: `export *` would
 * leave it out. A test compares.
 */
export * from '@isthmus/ring'
export * from '@isthmus/shm-posix'
export * from '@isthmus/sync'
