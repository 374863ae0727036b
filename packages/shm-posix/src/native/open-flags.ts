/** Not among Node.js's constants; the same on x64 and arm64. */
export const O_CLOEXEC = 0o2000000
