import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { connectTo } from './both-transports.js'
import { BLOCK_BYTES, MEMORY_BYTES, type Outgoing } from './transport.js'

try {
  const [address, path] = process.argv.slice(2)
  if (address === undefined)
    throw new Error('usage: node send.js ADDRESS [FILE]   (without FILE: a gibibyte from memory)')
  await sendTo(address, path)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

async function sendTo(address: string, path: string | undefined): Promise<void> {
  const outgoing = await connectTo(address)
  try {
    if (path === undefined) await sendMemory(outgoing)
    else console.log(`sha256 ${await sendFile(path, outgoing)}`)
  } finally {
    await outgoing.close()
  }
}

/** Returns the SHA-256 of what it has sent. */
async function sendFile(path: string, outgoing: Outgoing): Promise<string> {
  const hash = createHash('sha256')
  const buffer = Buffer.alloc(BLOCK_BYTES)
  const file = openSync(path, 'r')
  try {
    for (let byteLength = readSync(file, buffer); byteLength > 0; byteLength = readSync(file, buffer)) {
      const block = buffer.subarray(0, byteLength)
      hash.update(block)
      await outgoing.send(block)
    }
  } finally {
    closeSync(file)
  }
  return hash.digest('hex')
}

async function sendMemory(outgoing: Outgoing): Promise<void> {
  const block = Buffer.alloc(BLOCK_BYTES, 'isthmus')
  for (let sent = 0; sent < MEMORY_BYTES; sent += block.byteLength) await outgoing.send(block)
}
