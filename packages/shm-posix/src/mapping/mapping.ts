/** How a file's bytes come into JavaScript; see the three files beside this one. */
export type MapperName = 'overlay' | 'view' | 'mmap-io'

/** The bytes of a file, mapped into this process. */
export interface Mapping {
  readonly mapper: MapperName
  /** For Atomics. */
  readonly words: Int32Array
  /** For bulk copies. May be made when first asked for. */
  readonly bytes: Uint8Array
  /** Where they are, for system calls. */
  readonly address: number
  /** Puts zeroed memory of this process in their place: the file's memory is let go at once, and no access faults. */
  unmap(): void
}

/** @throws SystemCallError where the file cannot be mapped */
export type Mapper = (fd: number, byteLength: number) => Mapping
