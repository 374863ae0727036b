import { IsthmusError, IsthmusRangeError, IsthmusTypeError, PeerDiedError } from '@isthmus/sync'
import { describe, expect, test } from 'vitest'
import * as syncSources from '../../sync/src/errors.js'
import { IncompleteMessageError, spscRing } from '../src/index.js'
import { createRing, payload } from './support/ring-memory.js'

function thrownBy(action: () => unknown): unknown {
  try {
    return action()
  } catch (error) {
    return error
  }
}

describe('errors across packages', () => {
  test('@isthmus/sync is there in one copy: its sources', () => {
    expect(IsthmusError).toBe(syncSources.IsthmusError)
    expect(PeerDiedError).toBe(syncSources.PeerDiedError)
  })

  test('the errors of ring are instances of the classes of sync, and of the built-in class that fits', () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const producer = ring.producer()
    expect(thrownBy(() => producer.commit())).toBeInstanceOf(IsthmusError)
    expect(thrownBy(() => spscRing({ capacityBytes: 65 }))).toBeInstanceOf(IsthmusRangeError)
    expect(thrownBy(() => spscRing({ capacityBytes: 65 }))).toBeInstanceOf(RangeError)
    // @ts-expect-error a string needs a codec
    expect(thrownBy(() => producer.trySend('text'))).toBeInstanceOf(IsthmusTypeError)
    // @ts-expect-error a string needs a codec
    expect(thrownBy(() => producer.trySend('text'))).toBeInstanceOf(TypeError)
  })
})

describe('IncompleteMessageError', () => {
  test('IncompleteMessageError tells the reason and how much had arrived', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 })
    const consumer = ring.consumer()
    memory.appendFirst(payload(16), 100)
    memory.append({ kind: 6 })
    const error = thrownBy(() => consumer.tryReceive())
    expect(error).toBeInstanceOf(IncompleteMessageError)
    expect(error).toBeInstanceOf(IsthmusError)
    expect(error).toMatchObject({
      name: 'IncompleteMessageError',
      code: 'ERR_ISTHMUS_MESSAGE_INCOMPLETE',
      reason: 'abandoned',
      receivedBytes: 16,
      messageByteLength: 100,
      message: expect.stringContaining('16 of 100 bytes'),
    })
  })

  test('IncompleteMessageError of a message whose beginning was not seen gives no length', () => {
    const error = new IncompleteMessageError('joined-midway', 0, undefined)
    expect(error.messageByteLength).toBeUndefined()
    expect(error.message).toContain('an earlier consumer')
  })
})
