import { cannotLoad, findInstalled } from '../native/installed-package.js'
import { addressOf, mapZerosOver } from '../native/memory-map.js'
import { unsupported } from '../native/support.js'
import type { Mapping } from './mapping.js'

/** The part of the package that is used. */
interface MmapIo {
  readonly PROT_READ: number
  readonly PROT_WRITE: number
  readonly MAP_SHARED: number
  map(byteLength: number, protection: number, flags: number, fd: number): Buffer
}

/** The package takes lengths as C ints. */
const BYTE_LENGTH_MAX = 2 ** 31 - 1

/**
 * On request, the optional package mmap-io (`npm install mmap-io@npm:@riaskov/mmap-io`) maps the memory, and unmaps it when
 * it is collected. The package's own functions then work on it: advise, incore, sync.
 */
export function mapWithMmapIo(fd: number, byteLength: number): Mapping {
  const mmapIo = load()
  if (byteLength > BYTE_LENGTH_MAX)
    throw unsupported(`mmap-io maps less than 2 GiB, this segment has ${byteLength} bytes`)
  const mapped = mmapIo.map(byteLength, mmapIo.PROT_READ | mmapIo.PROT_WRITE, mmapIo.MAP_SHARED, fd)
  const address = addressOf(mapped)
  return {
    mapper: 'mmap-io',
    words: new Int32Array(mapped.buffer, mapped.byteOffset, byteLength / 4),
    bytes: new Uint8Array(mapped.buffer, mapped.byteOffset, byteLength),
    address,
    unmap: () => mapZerosOver(address, byteLength),
  }
}

const NAME = 'mmap-io'
const ROLE = 'the optional package of the mapper of that name'

function load(): MmapIo {
  const installed = findInstalled(
    NAME,
    ROLE,
    'Install it with `npm install mmap-io@npm:@riaskov/mmap-io` (Node.js 20 or 22), or leave the mapper out',
  )
  try {
    return installed.load() as MmapIo
  } catch (error) {
    throw cannotLoad(NAME, ROLE, error, installed.path)
  }
}
