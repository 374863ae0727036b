import type { Consumer, MessageChunk, Producer } from '@isthmus/ring'
import { contentOf, type Digest, digestOf } from './messages.js'

/** One message and the way it is sent. */
export interface SendStep {
  readonly byteLength: number
  readonly how: 'sendSync' | 'trySend' | 'claim' | 'abort-then-claim'
  readonly cork: 'cork' | 'uncork' | 'as-it-is'
}

/** One way of receiving. A script is repeated until the end. */
export type ReceiveStep =
  | { readonly how: 'receiveSync' | 'tryReceive' | 'acknowledge' }
  | { readonly how: 'chunks' }
  | { readonly how: 'drain'; readonly limit: number }

const WATCHDOG_MS = 30_000

/** Sends the whole script. Messages that do not fit into one record go through sendSync. */
export function playSends(producer: Producer, steps: readonly SendStep[], seed: number): void {
  let isCorked = false
  steps.forEach(({ byteLength, how, cork }, number) => {
    if (cork === 'cork' && !isCorked) producer.cork()
    if (cork === 'uncork' && isCorked) producer.uncork()
    if (cork !== 'as-it-is') isCorked = cork === 'cork'
    const bytes = contentOf(seed, number, byteLength)
    const isLarge = byteLength > producer.maxRecordBytes
    if (isLarge || how === 'sendSync') {
      if (!producer.sendSync(bytes, { timeoutMs: WATCHDOG_MS })) throw new Error('The consumer made no space')
    } else if (how === 'trySend') {
      until(() => producer.trySend(bytes))
    } else {
      if (how === 'abort-then-claim') {
        until(() => producer.tryClaim(producer.maxRecordBytes) !== -1)
        producer.abort()
      }
      const byteOffset = until(() => producer.tryClaim(byteLength), -1)
      producer.bytes.set(bytes, byteOffset)
      producer.commit()
    }
  })
}

/** Receives until the end; returns the digests of what came. */
export function playReceives(consumer: Consumer, steps: readonly ReceiveStep[]): Digest[] {
  const received: Digest[] = []
  const deadline = performance.now() + WATCHDOG_MS
  for (let turn = 0; ; turn++) {
    if (performance.now() > deadline) throw new Error(`No end after ${received.length} messages`)
    if (playReceive(consumer, steps[turn % steps.length], received) === null) return received
  }
}

function playReceive(consumer: Consumer, step: ReceiveStep, received: Digest[]): unknown {
  switch (step.how) {
    case 'acknowledge':
      return consumer.acknowledge()
    case 'tryReceive':
      return note(received, consumer.tryReceive())
    case 'receiveSync':
      return note(received, consumer.receiveSync({ timeoutMs: WATCHDOG_MS }))
    case 'drain':
      return consumer.drain(
        (bytes, byteOffset, byteLength) => {
          received.push(digestOf(bytes.slice(byteOffset, byteOffset + byteLength)))
        },
        { limit: step.limit },
      )
    case 'chunks':
      return note(received, receiveInChunks(consumer))
  }
}

/** A whole message, put together from its chunks. */
function receiveInChunks(consumer: Consumer): Uint8Array | undefined | null {
  let first: MessageChunk | undefined | null
  try {
    first = consumer.tryReceiveChunk()
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_ISTHMUS_CALL_ORDER') throw error
    return consumer.tryReceive()
  }
  if (first === undefined || first === null) return first
  const message = new Uint8Array(first.messageByteLength)
  for (let chunk = first; ; ) {
    message.set(chunk.bytes, chunk.messageOffset)
    if (chunk.isLast) return message
    const next = consumer.receiveChunkSync({ timeoutMs: WATCHDOG_MS })
    if (next === undefined || next === null) throw new Error('A message ended before its last chunk')
    chunk = next
  }
}

function note(received: Digest[], message: Uint8Array | undefined | null): Uint8Array | undefined | null {
  if (message !== undefined && message !== null) received.push(digestOf(message))
  return message
}

function until<R>(attempt: () => R, failure: unknown = false): R {
  const deadline = performance.now() + WATCHDOG_MS
  for (;;) {
    const result = attempt()
    if (result !== failure) return result
    if (performance.now() > deadline) throw new Error('Nothing changed for too long')
  }
}
