import type { AllocationWatch } from './allocation-watch.js'
import { Breach, type Call, perform } from './call.js'
import { Ground, type RegionKind } from './ground.js'
import { hostilePlace, hostileWord } from './hostile-word.js'
import { type Mutation, mutationText, write } from './memory.js'
import { Random } from './random.js'
import type { Scribbler } from './scribbler.js'
import type { Subject, Users } from './subject.js'
import { CaseFailure, type CaseReport, type Target, trace } from './target.js'

const STEPS_MAX = 10
const BLOWS_MAX = 4
/** The region is made anew after this many cases, so that its state outside of the memory cannot grow without limit. */
const CASES_PER_GROUND = 2_000
/** Enough for the largest message, region and header of any subject: no length in memory may ask for more. */
const ALLOCATION_BYTES_MAX = 64 * 1024

/** One structure on one kind of region, attacked between the calls of its users or, by another thread, during them. */
export class StructureTarget implements Target {
  readonly name: string
  readonly #subject: Subject
  readonly #kind: RegionKind
  readonly #scribbler: Scribbler | undefined
  readonly #allocations: AllocationWatch
  #ground: Ground | undefined
  #casesOnGround = 0

  constructor(subject: Subject, kind: RegionKind, allocations: AllocationWatch, scribbler?: Scribbler) {
    this.name = `${subject.name}/${kind}/${scribbler === undefined ? 'between' : 'scribbled'}`
    this.#subject = subject
    this.#kind = kind
    this.#allocations = allocations
    this.#scribbler = scribbler
  }

  get scribbles(): number {
    return this.#scribbler?.scribbles ?? 0
  }

  async run(seed: number): Promise<CaseReport> {
    const ground = await this.#groundForACase()
    const fight = new Fight(this.#subject, ground, new Random(seed))
    try {
      this.#allocations.take()
      if (this.#scribbler === undefined) await fight.run()
      else await fight.runDuring(this.#scribbler, seed)
      const largest = this.#allocations.take()
      if (largest > ALLOCATION_BYTES_MAX) throw new Breach(`${largest} bytes were allocated at once`)
    } catch (error) {
      throw new CaseFailure(error, fight.log)
    }
    return fight
  }

  async close(): Promise<void> {
    this.#ground?.close()
    this.#ground = undefined
    await this.#scribbler?.close()
  }

  async #groundForACase(): Promise<Ground> {
    if (this.#ground === undefined || ++this.#casesOnGround > CASES_PER_GROUND) {
      await this.#scribbler?.leave()
      this.#ground?.close()
      this.#casesOnGround = 0
      this.#ground = new Ground(this.#kind, this.#subject.structure)
      await this.#scribbler?.enter(this.#subject.name, this.#ground.handle)
    }
    this.#ground.restore()
    return this.#ground
  }
}

/** One case: its users, the blows (hostile writes), and the answers of the calls. */
class Fight implements CaseReport {
  readonly log: string[] = []
  readonly answers: string[] = []
  mutations = 0
  calls = 0
  readonly #subject: Subject
  readonly #ground: Ground
  readonly #random: Random
  readonly #written = new Map<number, number>()

  constructor(subject: Subject, ground: Ground, random: Random) {
    this.#subject = subject
    this.#ground = ground
    this.#random = random
  }

  /** Blows fall before the users attach and between their calls. */
  async run(): Promise<void> {
    const random = this.#random
    let users: Users | undefined
    try {
      if (random.isOneIn(3)) this.#strike()
      const enter = { name: 'enter', run: () => this.#enter((entered) => (users = entered)) }
      await this.#perform(enter)
      for (let step = 3 + random.below(STEPS_MAX - 2); step > 0 && users !== undefined; step--) {
        if (random.isOneIn(2)) this.#strike()
        await this.#perform(random.isOneIn(10) ? this.#sweep() : users.next(random))
      }
    } finally {
      for (const call of users?.leave() ?? []) await this.#perform(call)
    }
    this.#ground.assertOutsideUntouched(this.#written)
  }

  /** The users call while another thread overwrites the structure. */
  async runDuring(scribbler: Scribbler, seed: number): Promise<void> {
    const random = this.#random
    let users: Users | undefined
    scribbler.begin(seed)
    try {
      await this.#perform({ name: 'enter', run: () => this.#enter((entered) => (users = entered)) })
      for (let step = 0; step < STEPS_MAX * 2 && users !== undefined; step++) await this.#perform(users.next(random))
      for (const call of users?.leave() ?? []) await this.#perform(call)
    } finally {
      scribbler.pause()
    }
    this.#ground.assertOutsideUntouched(this.#written)
  }

  #enter(onEntered: (users: Users) => void): void {
    onEntered(this.#subject.enter(this.#ground, this.#random))
  }

  /** The sweep of a user, as closing does it, and attaching in a dead peer's slot. */
  #sweep(): Call {
    const { structure, structureByteOffset, first, second, peerIds } = this.#ground
    const random = this.#random
    const region = random.of([first, second])
    const peer = random.of(peerIds)
    return { name: `sweep of ${peer}`, run: () => structure.sweep(region, structureByteOffset, peer) }
  }

  async #perform(call: Call): Promise<void> {
    this.calls++
    const at = this.log.push(call.name) - 1
    trace.line?.(call.name)
    const answer = await perform(call)
    this.answers.push(answer)
    this.log[at] = `${call.name}: ${answer}`
  }

  #strike(): void {
    const { memory } = this.#ground
    const random = this.#random
    if (this.#subject.strike !== undefined && random.isOneIn(3)) {
      for (const mutation of this.#subject.strike(this.#ground, random)) this.#note(mutation)
      return
    }
    for (let blow = 1 + random.below(BLOWS_MAX); blow > 0; blow--) {
      const index = hostilePlace(memory, random)
      this.#note(write(memory.words, index, hostileWord(index, memory, random)))
    }
  }

  #note(mutation: Mutation): void {
    this.mutations++
    this.#written.set(mutation.index, mutation.after)
    const text = `  ${mutationText(mutation, this.#ground.memory)}`
    this.log.push(text)
    trace.line?.(text)
  }
}
