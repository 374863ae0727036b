/** Linux keeps POSIX shared memory in a tmpfs, where a name is a file. */
export const SHARED_MEMORY_DIRECTORY = '/dev/shm'
