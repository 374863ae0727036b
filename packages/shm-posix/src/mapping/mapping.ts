/** How a file's bytes come into JavaScript; see overlay.ts, view.ts and mmap-io.ts. */
export type MapperName = 'overlay' | 'view' | 'mmap-io'

/** The bytes of a file, mapped into this process. */
export interface Mapping {
  readonly mapper: MapperName
  /** For Atomics. */
  readonly words: Int32Array
  /** For bulk copies. They may be made only when they are first asked for. */
  readonly bytes: Uint8Array
  /** The address of the bytes, for system calls. */
  readonly address: number
  /** Replaces the bytes by zeroed memory of this process: the file's memory goes at once, and no later access faults. */
  unmap(): void
}

/** @throws SystemCallError if the file cannot be mapped */
export type Mapper = (fd: number, byteLength: number) => Mapping
