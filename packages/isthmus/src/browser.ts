/** What of isthmus runs in a browser: everything that needs neither Node.js nor the operating system. */
export * from '@isthmus/ring'
export * from '@isthmus/sync'
