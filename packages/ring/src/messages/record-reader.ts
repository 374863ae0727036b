import { IsthmusError, type Signal } from '@isthmus/sync'
import { type Condition, nowMs, type WaitPoint } from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { LargeMessage } from '../record/large-message.js'
import { MessageAssembly } from '../record/message-assembly.js'
import type { Counterpart, EndedEpoch } from '../role/counterpart.js'
import { CLOSED } from '../role/layout.js'
import { type MemoryViews, MessageReceiver } from './message-receiver.js'
import { newsOfEnd } from './news-of-end.js'
import { takeFragments } from './take-fragments.js'
import type { Taking } from './taking.js'

/** What error messages call the agents of a ring. */
export interface ReaderWords {
  /** `producer` */
  readonly sender: string
  /** `cannot send while the thread blocks. Send first` */
  readonly blockedSender: string
}

/** The ring that a reader reads from. */
export interface ReaderPlace<T> extends MemoryViews {
  readonly geometry: { readonly subject: string; readonly maxRecordBytes: number; readonly maxMessageBytes: number }
  readonly codec: Codec<T> | undefined
  readonly sender: Counterpart
  /** Where the reader waits for records. */
  readonly data: WaitPoint
}

/**
 * An agent that reads messages out of a ring of bytes, which one sender writes as records: the consumer of an SPSC ring, and a
 * subscriber of a broadcast ring. What is here is the same for both: waiting, the end of the sender, and the large message under way.
 * What differs is where the next record stands, and whether what was read there can be trusted.
 */
export abstract class RecordReader<T = Uint8Array> extends MessageReceiver<T> {
  /** The largest message that comes in one record, and the largest chunk, in bytes. */
  readonly maxRecordBytes: number

  /** @internal */
  protected readonly sender: Counterpart
  /** @internal */
  protected readonly assembly: MessageAssembly
  /** @internal The large message under way, if it is received whole. */
  protected readonly large: LargeMessage
  /** @internal Where the call under way copies what it takes, if the program has given an array. */
  protected target: Uint8Array | undefined
  /** @internal What this reader waits for. */
  protected readonly condition: Condition
  readonly #data: WaitPoint
  readonly #says: ReaderWords
  #isReadingChunks = false

  /** @internal */
  protected constructor(place: ReaderPlace<T>, says: ReaderWords) {
    const { subject, maxRecordBytes, maxMessageBytes } = place.geometry
    super(place, subject, place.codec)
    this.maxRecordBytes = maxRecordBytes
    this.sender = place.sender
    this.assembly = new MessageAssembly(maxMessageBytes, subject)
    this.large = new LargeMessage(this.assembly, this.attempt)
    this.condition = {
      poll: () => this.hasNews(),
      reapDead: () => this.sender.reapDead(),
      dependsOn: () => this.sender.holders(),
    }
    this.#data = place.data
    this.#says = says
  }

  /** @internal Whether a receive may find something: records, or a change in the sender's role. */
  protected abstract hasNews(): boolean
  /** @internal Looks for records that were published meanwhile. Returns whether there are any. */
  protected abstract hasMore(): boolean

  protected override waitPoints(): readonly WaitPoint[] {
    return [this.#data]
  }

  /** @internal A single message takes a way of its own: it is the hot one. */
  protected override blockFor<R>(tryTake: () => R | undefined, deadline: number): R | undefined {
    this.assertOurTurn()
    for (;;) {
      const taken = tryTake()
      if (taken !== undefined || !this.waitForDataSync(deadline)) return taken
    }
  }

  /** @internal Blocks until a receive may find something; false if the time is up. */
  protected waitForDataSync(deadline: number): boolean {
    if (nowMs() >= deadline) return false
    if (this.hasNews()) return true
    if (this.sender.isOwnThread()) {
      throw new IsthmusError(
        'EDEADLK',
        `Waiting for a message from ${this.subject}: its ${this.#says.sender} belongs to this very thread and ${this.#says.blockedSender}.`,
      )
    }
    return this.#data.waitSync(this.condition, deadline)
  }

  /** @internal */
  protected override waitToTake(
    taking: Taking<unknown>,
    deadline: number,
    signal: Signal | undefined,
  ): Promise<unknown> {
    const wait = () => this.#data.wait(this.condition, deadline, signal)
    if (!this.assembly.isInsideMessage) return wait()
    const isInside = () => this.assembly.isInsideMessage
    return takeFragments({ turns: this.receives, condition: this.condition, isInside, wait }, taking, deadline)
  }

  /** @internal */
  protected override newsFor(): { hasNews(): boolean; wait(signal: Signal | undefined): Promise<unknown> } {
    return {
      hasNews: () => this.hasNews(),
      wait: (signal) => this.#data.wait(this.condition, Number.POSITIVE_INFINITY, signal),
    }
  }

  /** @internal A message is received to its end in the same way. */
  protected beginReading(inChunks: boolean): void {
    this.assertUsable('Receiving')
    if (this.#isReadingChunks === inChunks) return
    if (this.assembly.isInsideMessage) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `${this.attempt}: the message under way is being received ${inChunks ? 'whole' : 'in chunks'}. Receive the rest of it in the same way.`,
      )
    }
    this.#isReadingChunks = inChunks
  }

  /** @internal Whether a part of a message was given out as a chunk, and its end was not. */
  protected get isInsideChunks(): boolean {
    return this.#isReadingChunks && this.assembly.isInsideMessage
  }

  /**
   * @internal For a ring that was found empty, and whose sender has ended, since `sender.findEnd()` gave this end. Returns whether
   * that is the end to be told; false if something came after all.
   *
   * 1. Look for records once more: the sender published everything before it ended. Receive that first.
   * 2. Judge the end: told by a handle before this one (wait for a successor), told by this handle (a close is told again, a
   *    death is not), or new.
   * 3. Tell it: true for a close, an error for a death or a message that broke off. Remember that it was told.
   */
  protected isOver(end: EndedEpoch): boolean {
    if (this.hasMore()) return false
    const told = this.sender.judge(end)
    if (told !== 'untold') return told === 'told' && end.state === CLOSED
    const news = newsOfEnd(end, this.sender, this.#says.sender, this.assembly, this.attempt)
    this.assembly.endEpoch()
    this.large.array = undefined
    this.large.into = undefined
    // Nothing after this can fail: an end counts as told only if it is told.
    this.sender.markTold(end.epoch)
    if (news !== undefined) throw news
    return true
  }
}
