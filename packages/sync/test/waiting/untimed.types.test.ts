import { describe, expectTypeOf, test } from 'vitest'
import type {
  BarrierMember,
  Condvar,
  Futex,
  Mutex,
  MutexGuard,
  Permit,
  ReadGuard,
  RwLock,
  Semaphore,
  TimeoutOptions,
  WaitOptions,
  WriteGuard,
} from '../../src/index.js'

declare const lock: Mutex
declare const permits: Semaphore
declare const shared: RwLock
declare const changed: Condvar
declare const guard: MutexGuard
declare const word: Futex
declare const member: BarrierMember
declare const wait: WaitOptions
declare const timeout: TimeoutOptions
const { signal } = new AbortController()
const isThere = () => true

/** Types only: nothing here is called. */
describe('What a wait without a timeout gives', () => {
  test('a lock or a permit, with a signal or without; undefined too if there may be a timeout', () => {
    const calls = () => {
      expectTypeOf(lock.lock()).toEqualTypeOf<Promise<MutexGuard>>()
      expectTypeOf(lock.lock({ signal })).toEqualTypeOf<Promise<MutexGuard>>()
      expectTypeOf(lock.lock({ signal, timeoutMs: 5 })).toEqualTypeOf<Promise<MutexGuard | undefined>>()
      expectTypeOf(lock.lock(wait)).toEqualTypeOf<Promise<MutexGuard | undefined>>()
      expectTypeOf(permits.acquire({ signal })).toEqualTypeOf<Promise<Permit>>()
      expectTypeOf(permits.acquire(wait)).toEqualTypeOf<Promise<Permit | undefined>>()
      expectTypeOf(shared.readLock({ signal })).toEqualTypeOf<Promise<ReadGuard>>()
      expectTypeOf(shared.readLock(wait)).toEqualTypeOf<Promise<ReadGuard | undefined>>()
      expectTypeOf(shared.writeLock({ signal })).toEqualTypeOf<Promise<WriteGuard>>()
      expectTypeOf(shared.writeLock(wait)).toEqualTypeOf<Promise<WriteGuard | undefined>>()
    }
    expectTypeOf(calls).toBeFunction()
  })

  test('true, with a signal or without; a boolean if there may be a timeout', () => {
    const calls = () => {
      expectTypeOf(word.waitWhile(0)).toEqualTypeOf<Promise<true>>()
      expectTypeOf(word.waitWhile(0, { signal })).toEqualTypeOf<Promise<true>>()
      expectTypeOf(word.waitWhile(0, wait)).toEqualTypeOf<Promise<boolean>>()
      expectTypeOf(word.waitWhileSync(0)).toEqualTypeOf<true>()
      expectTypeOf(word.waitWhileSync(0, timeout)).toEqualTypeOf<boolean>()
      expectTypeOf(member.wait({ signal })).toEqualTypeOf<Promise<true>>()
      expectTypeOf(member.wait(wait)).toEqualTypeOf<Promise<boolean>>()
      expectTypeOf(member.waitSync()).toEqualTypeOf<true>()
      expectTypeOf(member.waitSync(timeout)).toEqualTypeOf<boolean>()
      expectTypeOf(changed.wait(guard)).toEqualTypeOf<Promise<true>>()
      expectTypeOf(changed.wait(guard, { signal })).toEqualTypeOf<Promise<true>>()
      expectTypeOf(changed.wait(guard, isThere, { signal })).toEqualTypeOf<Promise<true>>()
      expectTypeOf(changed.wait(guard, wait)).toEqualTypeOf<Promise<boolean>>()
      expectTypeOf(changed.wait(guard, isThere, wait)).toEqualTypeOf<Promise<boolean>>()
      expectTypeOf(changed.waitSync(guard)).toEqualTypeOf<true>()
      expectTypeOf(changed.waitSync(guard, isThere)).toEqualTypeOf<true>()
      expectTypeOf(changed.waitSync(guard, timeout)).toEqualTypeOf<boolean>()
      expectTypeOf(changed.waitSync(guard, isThere, timeout)).toEqualTypeOf<boolean>()
    }
    expectTypeOf(calls).toBeFunction()
  })
})
